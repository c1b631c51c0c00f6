"""The list of repositories, which draws only its visible lines, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from engine.hub.search.search import Repository
from tui.chat.hub.columns import row_content


class HubRows(ScrollView, can_focus=False):
    """Rows of one line each, one of them selected; 300 scroll as fluidly as 30."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"hub-rows--row", "hub-rows--selected"}

    class Chosen(Message):
        """A row was clicked."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._rows: Sequence[Repository] = ()
        self._index = 0
        self._has_moved = False
        self._now = datetime.now(UTC)

    @property
    def rows(self) -> Sequence[Repository]:
        """The rows, top first."""
        return self._rows

    @property
    def selected(self) -> Repository | None:
        """The selected row, or None if there are no rows."""
        return self._rows[self._index] if self._rows else None

    def show(self, rows: Sequence[Repository]) -> None:
        """Show other rows; a row that the user has moved to stays selected if it is among them.

        Otherwise the first row is selected.
        """
        kept = self.selected.name if self._has_moved and self.selected is not None else None
        before = self._index
        names = [row.name for row in rows]
        self._rows = rows
        self._index = names.index(kept) if kept in names else 0
        self._has_moved = self._has_moved and kept in names
        self._now = datetime.now(UTC)
        self.virtual_size = Size(self._width, len(rows))
        if not self._has_moved:
            self.scroll_to(0, 0, animate=False, immediate=True)
        elif self._index != before:
            # Rows that arrive above leave the selected one where it is on the screen.
            self.scroll_to(
                0, self.scroll_offset.y + self._index - before, animate=False, immediate=True
            )
        self.refresh()

    def move(self, step: int) -> None:
        """Select the row `step` lines below, limited to the first and the last."""
        if self._rows:
            self._select(max(0, min(len(self._rows) - 1, self._index + step)))

    def move_page(self, step: int) -> None:
        """Select the row a page below or above."""
        self.move(step * max(1, self.scrollable_content_region.height - 1))

    def select_end(self, *, is_last: bool) -> None:
        """Select the last row, or the first."""
        self.move(len(self._rows) if is_last else -len(self._rows))

    def _select(self, index: int) -> None:
        self._index, self._has_moved = index, True
        self.scroll_to_region(
            Region(0, index, self._width, 1), animate=False, force=True, immediate=True
        )
        self.refresh()

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width

    def on_resize(self) -> None:
        """Adjust to the new width, and keep the selected row visible."""
        self.virtual_size = Size(self._width, len(self._rows))
        if self._rows:
            region = Region(0, self._index, self._width, 1)
            self.scroll_to_region(region, animate=False, force=True, immediate=True)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Select the clicked row and choose it."""
        index = event.y + self.scroll_offset.y
        if 0 <= index < len(self._rows):
            self._select(index)
            self.post_message(self.Chosen())

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen."""
        index = self.scroll_offset.y + y
        width = self._width
        if not 0 <= index < len(self._rows):
            return Strip.blank(width, self.get_visual_style("hub-rows--row").rich_style)
        is_selected = index == self._index
        names = ("hub-rows--row", *(("hub-rows--selected",) if is_selected else ()))
        content = row_content(self._rows[index], width, self._now)
        strips = Visual.to_strips(self, content, width, 1, self.get_visual_style(*names))
        return strips[0].adjust_cell_length(width)
