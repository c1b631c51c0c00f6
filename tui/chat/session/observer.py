"""The interface of a chat session to the screen: its phase, its statistics and its events."""

from __future__ import annotations

from typing import Literal, Protocol

from tui.conversation import Answer, Entry

Severity = Literal["information", "warning", "error"]


ANSWERING = "Still answering. Esc stops it."
NO_MODEL = "No model is loaded: ctrl+o chooses one."
"""Shown when an action has to wait for the answer, or for a model."""


class Observer(Protocol):
    """Receives the events of a session, always on the event loop."""

    def session_changed(self) -> None:
        """The phase or a number has changed."""

    def mix_changed(self) -> None:
        """The displayed mix has changed."""

    def facts_changed(self) -> None:
        """What is known of the displayed stack has changed."""

    def chat_restarted(self) -> None:
        """The conversation was replaced."""

    def entry_added(self, entry: Entry) -> None:
        """A message was added at the end."""

    def entry_removed(self, entry: Entry) -> None:
        """A message was removed from the end."""

    def answer_grew(self, answer: Answer) -> None:
        """Text was added to the answer being written."""

    def answer_ended(self, answer: Answer) -> None:
        """The answer has ended, for whatever reason."""

    def told(self, sentence: str, severity: Severity) -> None:
        """A sentence for the user is to be shown."""
