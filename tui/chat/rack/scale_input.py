"""The field in the rack into which a scale is typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.session.mix import parse_scale
from tui.errors import TuiError


class ScaleInput(Input):
    """Takes a number from -2 to 2; an invalid one leaves the field open with the typed text."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.SCALE))

    @dataclass
    class Typed(Message):
        """A scale was typed for an adapter."""

        adapter_name: str
        scale: float

    @dataclass
    class Refused(Message):
        """The typed text is not a valid scale."""

        sentence: str

    class Cancelled(Message):
        """The field was closed without a new scale."""

    def __init__(self, adapter_name: str, scale: float) -> None:
        super().__init__(
            value=f"{scale:.2f}", select_on_focus=True, compact=True, classes="scale-input"
        )
        self._adapter_name = adapter_name
        self.border_title = "scale"

    async def action_submit(self) -> None:
        """Post the scale and close the field, or post what is wrong with the text."""
        try:
            scale = parse_scale(self.value)
        except TuiError as error:
            self.post_message(self.Refused(str(error)))
            return
        self.post_message(self.Typed(self._adapter_name, scale))
        await self.remove()

    async def action_cancel(self) -> None:
        """Close the field."""
        self.post_message(self.Cancelled())
        await self.remove()

    async def on_blur(self, event: events.Blur) -> None:
        """Close the field when the focus goes elsewhere."""
        if self.is_attached and self.screen.is_current:
            await self.remove()
