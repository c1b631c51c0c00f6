"""The search field for words, whose keys also control the list below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.parts.own_keys import run_own_key

Wish = Literal[
    "up", "down", "page_up", "page_down", "first", "last", "scope", "order", "again", "close"
]


class HubWords(Input):
    """Keeps the focus: letters go into the field, other keys are posted as wishes, in order."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.HUB))

    @dataclass
    class Wished(Message):
        """A key other than a letter was pressed."""

        wish: Wish

    def action_wish(self, wish: Wish) -> None:
        """Post the wish of a key."""
        self.post_message(self.Wished(wish))

    async def on_key(self, event: events.Key) -> None:
        """Run the bindings of the list's keys in the order in which they were typed."""
        await run_own_key(self, event, Place.HUB)
