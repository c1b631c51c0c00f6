"""Separate the thinking of a reasoning model from its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from engine.runtime.answer.stop_strings import overlap
from modelfiles.template.thoughts import DEFAULT_TAGS, ThoughtTags


@dataclass(frozen=True, slots=True)
class Split:
    """A piece of output, split into thinking and answer; mostly only one of them is non-empty."""

    thinking: str = ""
    text: str = ""


class _Place(Enum):
    START = auto()
    THOUGHT_START = auto()
    THOUGHT = auto()
    ANSWER_START = auto()
    ANSWER = auto()


class ThoughtSplitter:
    """Splits output that arrives in pieces, which may cut tags anywhere.

    A thought can only stand at the start of the output, after optional white space: later tags
    are text, as in an answer about tags. White space beside the tags is dropped.

    Args:
        tags: The tags of the model.
        is_open: Whether the prompt ends in the opening tag, so that the output starts in a thought.
    """

    def __init__(self, tags: ThoughtTags = DEFAULT_TAGS, *, is_open: bool = False) -> None:
        self._tags = tags
        self._place = _Place.THOUGHT_START if is_open else _Place.START
        self._pending = ""

    @property
    def is_thinking(self) -> bool:
        """Whether the last piece ended inside a thought."""
        return self._place in (_Place.THOUGHT_START, _Place.THOUGHT)

    def push(self, text: str) -> Split:
        """Add a piece and return the output whose kind is certain."""
        self._pending += text
        thinking = ""
        if self._place is _Place.START:
            self._leave_start()
        if self._place is _Place.THOUGHT_START:
            self._pending = self._pending.lstrip()
            if self._pending:
                self._place = _Place.THOUGHT
        if self._place is _Place.THOUGHT:
            thinking = self._thought()
        if self._place is _Place.ANSWER_START:
            self._pending = self._pending.lstrip()
            if self._pending:
                self._place = _Place.ANSWER
        if self._place is not _Place.ANSWER:
            return Split(thinking)
        answer, self._pending = self._pending, ""
        return Split(thinking, answer)

    def finish(self) -> Split:
        """Return the output held back; an incomplete opening tag counts as text."""
        rest, self._pending = self._pending, ""
        return Split(thinking=rest.rstrip()) if self.is_thinking else Split(text=rest)

    def _leave_start(self) -> None:
        begun = self._pending.lstrip()
        if begun.startswith(self._tags.opening):
            self._pending = begun.removeprefix(self._tags.opening)
            self._place = _Place.THOUGHT_START
        elif not self._tags.opening.startswith(begun):
            self._place = _Place.ANSWER

    def _thought(self) -> str:
        thought, closing, rest = self._pending.partition(self._tags.closing)
        if closing:
            self._place, self._pending = _Place.ANSWER_START, rest
            return thought.rstrip()
        n_certain = len(thought) - overlap(thought, self._tags.closing)
        certain = thought[:n_certain].rstrip()
        self._pending = thought[len(certain) :]
        return certain
