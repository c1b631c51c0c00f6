"""The conversation as data: questions, answers, and the stack each was answered under."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from engine.protocol.events import Finished
from engine.protocol.values import ChatMessage
from modelfiles.model import Message


class AnswerState(StrEnum):
    """State of an answer."""

    WRITING = "writing"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Question:
    """A message of the user."""

    id: int
    text: str
    is_opening: bool = False
    """Whether it belongs to the history that the Modelfile starts with."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A message of the model and the stack that produced it."""

    id: int
    text: str
    author: str
    """Name of the model that answered."""
    label: str
    """The stack in force while it was written, for example `pirate 0.70`."""
    state: AnswerState = AnswerState.WRITING
    tokens_per_s: float = 0.0
    """Decode speed; 0 if no token was decoded."""
    error: str = ""
    """One sentence, only if the answer failed."""
    notices: tuple[str, ...] = ()
    thinking: str = ""
    """What the model thought before it answered; never sent back to it."""
    n_thought: int = 0
    """Number of tokens of that thought."""
    is_opening: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Output of a command: shown on the page, but not part of the prompt or of a saved model."""

    id: int
    heading: str
    text: str


Entry = Question | Answer | Note


class Conversation:
    """Questions and answers, oldest first, on top of a system prompt and an opening history."""

    def __init__(self) -> None:
        self.system: str | None = None
        self.opening: tuple[Message, ...] = ()
        self.entries: list[Entry] = []
        self._next_id = 1

    def restart(
        self, system: str | None, opening: Iterable[Message] = (), author: str = ""
    ) -> None:
        """Start over with a system prompt and the history of a Modelfile."""
        self.system, self.opening = system, tuple(opening)
        self.entries = []
        for message in self.opening:
            if message.role == "user":
                self.entries.append(Question(self._new_id(), message.content, is_opening=True))
            elif message.role == "assistant":
                answer = Answer(self._new_id(), message.content, author, "from the Modelfile")
                self.entries.append(
                    dataclasses.replace(answer, state=AnswerState.FINISHED, is_opening=True)
                )

    @property
    def last_question(self) -> Question | None:
        """The last message the user sent in this chat."""
        asked = (e for e in reversed(self.entries) if isinstance(e, Question) and not e.is_opening)
        return next(asked, None)

    @property
    def last_answer(self) -> Answer | None:
        """The last answer that has ended, for whatever reason, and holds text."""
        return next(
            (
                entry
                for entry in reversed(self.entries)
                if isinstance(entry, Answer)
                and entry.state is not AnswerState.WRITING
                and entry.text
            ),
            None,
        )

    def ask(self, text: str) -> Question:
        """Add a question at the end."""
        question = Question(self._new_id(), text)
        self.entries.append(question)
        return question

    def note(self, heading: str, text: str) -> Note:
        """Add the output of a command at the end."""
        note = Note(self._new_id(), heading, text)
        self.entries.append(note)
        return note

    def begin_answer(self, author: str, label: str) -> Answer:
        """Add an empty answer at the end."""
        answer = Answer(self._new_id(), "", author, label)
        self.entries.append(answer)
        return answer

    def grow_answer(self, answer: Answer, text: str, thinking: str = "") -> Answer:
        """Append text and thoughts to an answer that is being written."""
        return self._replaced(answer, text=answer.text + text, thinking=answer.thinking + thinking)

    def relabel_answer(self, answer: Answer, label: str) -> Answer:
        """Record that an answer was written under more than the stack it began with."""
        return answer if label == answer.label else self._replaced(answer, label=label)

    def end_answer(self, answer: Answer, finished: Finished) -> Answer:
        """Record how an answer ended; text written so far stays, whatever the reason."""
        states = {"cancelled": AnswerState.STOPPED, "failed": AnswerState.FAILED}
        return self._replaced(
            answer,
            text=finished.text or answer.text,
            state=states.get(finished.reason, AnswerState.FINISHED),
            tokens_per_s=finished.stats.decode_tokens_per_s,
            error=finished.error,
            notices=finished.notices,
            thinking=finished.thinking or answer.thinking,
            n_thought=finished.stats.n_thought,
        )

    def fail_answer(self, answer: Answer, error: str) -> Answer:
        """Record that an answer failed; the text written so far stays."""
        return self._replaced(answer, state=AnswerState.FAILED, error=error)

    def stop_answer(self, answer: Answer) -> Answer:
        """Record that the answer was stopped before it was complete."""
        return self._replaced(answer, state=AnswerState.STOPPED)

    def take_back_answers(self) -> tuple[Answer | Note, ...]:
        """Remove and return everything after the last question, so that it can be asked again.

        Notes go with the answers: they would otherwise stand before the new one.
        """
        removed: list[Answer | Note] = []
        while self.entries and not isinstance(last := self.entries[-1], Question):
            if isinstance(last, Answer) and last.is_opening:
                break
            removed.append(last)
            self.entries.pop()
        return tuple(removed)

    def prompt(self) -> tuple[ChatMessage, ...]:
        """Return the messages to be answered: system, opening, then every turn that has text.

        A question whose answer failed without text is left out: one too long for the context would
        make every later one fail. Other questions without an answer are joined to the next one,
        because many chat templates refuse two user messages in a row.
        """
        messages = [ChatMessage("system", self.system)] if self.system else []
        messages += [ChatMessage(message.role, message.content) for message in self.opening]
        turns: list[ChatMessage] = []
        entries = [entry for entry in self.entries if not isinstance(entry, Note)]
        failed = {
            index
            for index, entry in enumerate(entries)
            if isinstance(entry, Answer) and entry.state is AnswerState.FAILED and not entry.text
        }
        for index, entry in enumerate(entries):
            if entry.is_opening or not entry.text or index + 1 in failed:
                continue
            role = "user" if isinstance(entry, Question) else "assistant"
            if turns and role == "user" and turns[-1].role == "user":
                turns[-1] = ChatMessage("user", f"{turns[-1].content}\n\n{entry.text}")
            else:
                turns.append(ChatMessage(role, entry.text))
        return (*messages, *turns)

    def _replaced(self, answer: Answer, **changes: object) -> Answer:
        changed: Answer = dataclasses.replace(answer, **changes)  # type: ignore[arg-type]  # by name
        for index in range(len(self.entries) - 1, -1, -1):
            if self.entries[index].id == answer.id:
                self.entries[index] = changed
                break
        return changed

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1
