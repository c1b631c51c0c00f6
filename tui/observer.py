"""What a chat session tells the screen: its phase, its numbers and what has happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from tui.conversation import Answer, Entry

Severity = Literal["information", "warning", "error"]


ANSWERING = "An answer is being written: Esc stops it."
NO_MODEL = "No model is loaded: ctrl+o chooses one."
"""What is said where something has to wait for the answer, or for a model."""


class Phase(StrEnum):
    """What the engine is doing for the chat."""

    EMPTY = "no model"
    LOADING = "loading"
    READY = "ready"
    PREFILL = "reading the prompt"
    WRITING = "writing"


@dataclass(slots=True)
class Meter:
    """The numbers of the footer."""

    load_fraction: float = 0.0
    n_prefilled: int = 0
    n_prompt: int = 0
    n_context: int = 0
    """Tokens of the context in use."""
    tokens_per_s: float = 0.0
    is_stopped: bool = False
    """Whether the last answer was cut short."""
    n_prepared: int = 0
    n_to_prepare: int = 0
    """Tokens of the conversation read in the background, and those there are; 0 of 0 where nothing
    is being read."""
    swap_s: float = 0.0
    """Time the engine took to apply the last stack; 0 where it did not say."""

    def restart(self) -> None:
        """Begin the numbers of another answer."""
        self.n_prefilled, self.n_prompt, self.tokens_per_s = 0, 0, 0.0
        self.is_stopped = False


class Observer(Protocol):
    """What a session tells the screen, always on the event loop."""

    def session_changed(self) -> None:
        """The phase or a number has changed."""

    def mix_changed(self) -> None:
        """The rack shows another mix."""

    def facts_changed(self) -> None:
        """More, or less, is known of the stack that the rack shows."""

    def chat_restarted(self) -> None:
        """The conversation was replaced."""

    def entry_added(self, entry: Entry) -> None:
        """A message was added at the end."""

    def entry_removed(self, entry: Entry) -> None:
        """The last message was taken away."""

    def answer_grew(self, answer: Answer) -> None:
        """A piece was added to the answer being written."""

    def answer_ended(self, answer: Answer) -> None:
        """The answer is over, whatever ended it."""

    def told(self, sentence: str, severity: Severity) -> None:
        """Something for the person to read."""
