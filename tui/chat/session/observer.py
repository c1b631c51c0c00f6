"""What a chat session tells the screen: its phase, its numbers and what has happened."""

from __future__ import annotations

from typing import Literal, Protocol

from tui.conversation import Answer, Entry

Severity = Literal["information", "warning", "error"]


ANSWERING = "An answer is being written: Esc stops it."
NO_MODEL = "No model is loaded: ctrl+o chooses one."
"""What is said where something has to wait for the answer, or for a model."""


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
