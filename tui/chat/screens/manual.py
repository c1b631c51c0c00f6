"""The manual in the chat: the list of its pages, and a page."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.themes import MUTED
from tui.chat.transcript.markdown.body import MarkdownBody
from tui.manual import Page, page, topics


class ManualScreen(ModalScreen[None]):
    """Lists the pages of the manual, of which Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.MANUAL))

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        pages = topics()
        width = max(len(page.topic) for page in pages)
        with Vertical(classes="dialog", id="manual") as box:
            box.border_title = "Manual"
            box.border_subtitle = "Enter opens · Esc goes back"
            yield OptionList(
                *(Option(_line(page, width), id=page.topic) for page in pages),
                markup=False,
                compact=True,
                id="manual-topics",
            )

    def on_mount(self) -> None:
        """Begin with the first page."""
        self.query_one(OptionList).highlighted = 0

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        found = page(event.option_id or "")
        if found is not None:
            self.app.push_screen(ManualPageScreen(found))

    def action_close(self) -> None:
        """Go back to the keys."""
        self.dismiss()


class ManualPageScreen(ModalScreen[None]):
    """Shows a page, drawn like an answer of the chat."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.MANUAL_PAGE))

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def compose(self) -> ComposeResult:
        """Lay out the page, its title in the border."""
        with VerticalScroll(classes="dialog", id="manual-page") as box:
            box.border_title = self._page.title
            box.border_subtitle = "↑↓ scroll · Esc goes back"
            yield MarkdownBody(self._page.flowing, is_over=True)

    def action_close(self) -> None:
        """Go back to the list."""
        self.dismiss()


def _line(page: Page, width: int) -> Content:
    return Content.assemble(
        Content.styled(f"{page.topic:<{width}}", "bold"),
        Content.styled(f"  {page.summary}", MUTED),
    )
