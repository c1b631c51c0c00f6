"""The screen that lists the keys of the chat, from the table of keys, and leads to the manual."""

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

_KEY_WIDTH = 22
_OF_THE_HELP = (Place.HELP, Place.MANUAL, Place.MANUAL_PAGE)
"""Places whose keys their own screens say."""


class HelpScreen(ModalScreen[None]):
    """Lists every key by the place it works in.

    Args:
        place: The place whose keys are shown first; None for those that work everywhere.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.HELP))

    def __init__(self, place: Place | None = None) -> None:
        super().__init__()
        self._place = place

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        with VerticalScroll(classes="dialog", id="help") as box:
            box.border_title = "Keys"
            box.border_subtitle = "m opens the manual · Esc closes"
            yield from help_rows()

    def on_mount(self) -> None:
        """Go to the keys of the place once it is known where they lie."""
        if self._place is not None:
            self.call_after_refresh(self._show_place, self._place)

    def _show_place(self, place: Place) -> None:
        for row in self.query(BlockView):
            if row.block.kind is Kind.HEADING and row.block.content.plain == place.value:
                self.query_one("#help").scroll_to_widget(row, top=True, animate=False)

    def action_manual(self) -> None:
        """Show the pages of the manual."""
        # Imported when somebody asks for it: most chats never do.
        from tui.chat.screens.manual import ManualScreen

        self.app.push_screen(ManualScreen())

    def action_close(self) -> None:
        """Go back to the chat."""
        self.dismiss()


def help_rows() -> Iterator[Widget]:
    """Yield the rows of the help: a heading per place, then its keys."""
    for number, place in enumerate(place for place in Place if place not in _OF_THE_HELP):
        heading = Block(Kind.HEADING, Content(place.value))
        yield BlockView(heading, has_gap=number > 0)
        for key in keys_of(place):
            first = f"  {key.label:<{_KEY_WIDTH}}"
            yield BlockView(
                Block(Kind.PARAGRAPH, Content(key.description), first, " " * len(first))
            )
