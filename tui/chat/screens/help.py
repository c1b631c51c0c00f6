"""The screen that lists the keys of the chat, made from the table of keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget

from tui.chat.keys.all_keys import bindings_of, keys_of
from tui.chat.keys.key import Place
from tui.chat.transcript.markdown.block import Block, Kind
from tui.chat.transcript.markdown.block_views import BlockView

_KEY_WIDTH = 20


class HelpScreen(ModalScreen[None]):
    """Lists every key by the place it works in."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.HELP))

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        with VerticalScroll(classes="dialog", id="help") as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            yield from help_rows()

    def action_close(self) -> None:
        """Go back to the chat."""
        self.dismiss()


def help_rows() -> Iterator[Widget]:
    """Yield the rows of the help: a heading per place, then its keys."""
    for number, place in enumerate(place for place in Place if place is not Place.HELP):
        heading = Block(Kind.HEADING, Content(place.value))
        yield BlockView(heading, has_gap=number > 0)
        for key in keys_of(place):
            first = f"  {key.label:<{_KEY_WIDTH}}"
            yield BlockView(
                Block(Kind.PARAGRAPH, Content(key.description), first, " " * len(first))
            )
