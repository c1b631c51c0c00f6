"""Track one answer while it is written: its text, statistics and the stacks it is written under."""

from __future__ import annotations

from collections.abc import Callable

from engine.protocol.events import Finished, GenerationEvent, PromptProgress, Tokens
from modelfiles.model import Model
from tui.chat.session.answer_label import answer_label
from tui.chat.session.meter import Meter
from tui.chat.session.mix import Mix
from tui.chat.session.stack_facts import StackFacts
from tui.conversation import Answer, AnswerState, Conversation

WHY_LIVE = (
    "This answer is approximate: the stack changed while it was written, so a part of its context "
    "was read under another one; ctrl+g answers again exactly."
)
WHY_KEPT = (
    "This answer is approximate: it goes on from what another stack has read (swap = keep); "
    "/set swap evaluate and ctrl+g answer exactly."
)


class Answering:
    """Turns the events of one generation into an answer and the footer's statistics."""

    def __init__(
        self,
        conversation: Conversation,
        meter: Meter,
        facts: StackFacts,
        clock: Callable[[], float],
        model: Model,
        mix: Mix,
    ) -> None:
        self.answer: Answer = conversation.begin_answer(model.name, mix.label)
        self.is_changed = False
        """Whether the stack changed after the answer had begun."""
        self.is_approximate = False
        self._conversation = conversation
        self._meter = meter
        self._facts = facts
        self._clock = clock
        self._first = self._last = mix
        self._n_tokens = 0
        self._started_s = clock()

    @property
    def why_approximate(self) -> str:
        """Sentence that says why an approximate answer is approximate."""
        return WHY_LIVE if self.is_changed else WHY_KEPT

    def change(self, mix: Mix) -> None:
        """Record a mix that came into force while the answer is being written."""
        if mix.in_force.digest != self._last.in_force.digest:
            self.is_changed = self.is_approximate = True
        self._last = mix

    def take(self, event: GenerationEvent) -> None:
        """Apply the next event of the generation."""
        meter = self._meter
        if isinstance(event, PromptProgress):
            meter.n_prefilled, meter.n_prompt = event.n_done, event.n_total
            self._started_s = self._clock()
        elif isinstance(event, Tokens):
            self.answer = self._conversation.grow_answer(self.answer, event.text, event.thinking)
            self._relabel()
            self._n_tokens += event.n_tokens
            elapsed_s = self._clock() - self._started_s
            meter.tokens_per_s = self._n_tokens / elapsed_s if elapsed_s > 0 else 0.0
            meter.n_context = meter.n_prompt + self._n_tokens
        else:
            self._end(event)

    def fail(self, sentence: str) -> None:
        """Record that the engine failed."""
        self.answer = self._conversation.fail_answer(self.answer, sentence)

    def give_up(self) -> None:
        """Record an unfinished answer as stopped, because its remaining events will not arrive."""
        if self.answer.state is AnswerState.WRITING:
            self.answer = self._conversation.stop_answer(self.answer)

    def _end(self, finished: Finished) -> None:
        if finished.reason != "failed":
            # The engine's word is final: a change after the last token has changed nothing.
            self.is_approximate = finished.stats.is_approximate
            digest = self._last.in_force.digest
            self._facts.formed(digest, finished.stats.form)
            self._facts.answered(digest, is_approximate=self.is_approximate)
        else:
            # An engine that crashed has lost its KV cache.
            self._facts.forget_chat()
        self._relabel()
        self.answer = self._conversation.end_answer(self.answer, finished)
        meter = self._meter
        meter.n_context = finished.stats.n_context or meter.n_context
        meter.tokens_per_s = finished.stats.decode_tokens_per_s
        meter.is_stopped = self.answer.state is AnswerState.STOPPED

    def _relabel(self) -> None:
        label = answer_label(
            self._first,
            self._last,
            is_changed=self.is_changed,
            is_approximate=self.is_approximate,
        )
        self.answer = self._conversation.relabel_answer(self.answer, label)
