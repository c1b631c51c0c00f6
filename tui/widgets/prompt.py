"""The text area in which a message is written; Enter sends it."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message
from textual.widgets import TextArea

from tui.keys import Place, bindings_of


class Prompt(TextArea):
    """Grows with its text up to eight lines; never disabled, so typing is always possible."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.PROMPT))

    class Sent(Message):
        """The person wants to send the text; whoever does not take it gives it back."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

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
        """What the up arrow brings back to an empty prompt."""

    def action_send(self) -> None:
        """Send the text unless it is blank."""
        # A key that wins over the text area comes before those still waiting in its queue:
        # typed faster than drawn, Enter would send a text without its end.
        self.call_later(self._send)

    def _send(self) -> None:
        text = self.text.strip()
        if text:
            # Emptied at once: what is typed next belongs to the next message.
            self.clear()
            self.post_message(self.Sent(text))

    def action_newline(self) -> None:
        """Break the line at the cursor."""
        self.insert("\n")
        self.scroll_cursor_visible()

    def action_recall(self) -> None:
        """Bring the last message back to an empty prompt; elsewhere move the cursor up."""
        if self.text:
            self.action_cursor_up()
        else:
            self.put(self.last_sent)

    def put(self, text: str) -> None:
        """Replace the text, the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    def give_back(self, text: str) -> None:
        """Show a text again that was not taken, before what was typed since then."""
        self.put(text + self.text)
