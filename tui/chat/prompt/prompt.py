"""The text area in which a message is written; Enter sends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import TextArea

from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.parts.own_keys import run_own_key


class Prompt(TextArea):
    """Grows with its text up to eight lines; never disabled, so typing is always possible."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.PROMPT))

    @dataclass
    class Sent(Message):
        """The user wants to send the text; a receiver that refuses it gives it back."""

        text: str

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(
            id=id,
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder="Type a message",
            compact=True,
        )
        self.last_sent = ""
        """The text that the up arrow recalls into an empty prompt."""

    async def _on_key(self, event: events.Key) -> None:
        """Handle the prompt's own keys before the text area inserts them."""
        await run_own_key(self, event, Place.PROMPT)

    def action_send(self) -> None:
        """Send the text unless it is blank, and clear the prompt."""
        if text := self.text.strip():
            self.last_sent = text
            self.clear()
            self.post_message(self.Sent(text))

    def action_newline(self) -> None:
        """Break the line at the cursor."""
        self.insert("\n")
        self.scroll_cursor_visible()

    def action_recall(self) -> None:
        """Recall the last message into an empty prompt; otherwise move the cursor up."""
        if self.text:
            self.action_cursor_up()
        else:
            self.put(self.last_sent)

    def give_back(self, text: str) -> None:
        """Put back a text that was refused, before the text typed since."""
        self.put(f"{text}\n{self.text}" if self.text else text)

    def put(self, text: str) -> None:
        """Replace the text and move the cursor to its end."""
        self.text = text
        self.move_cursor(self.document.end)
