"""One adapter of the rack: its number, whether it is on, its scale."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from engine.stack import StackEntry
from tui.chat.parts.bar import scale_bar
from tui.chat.themes import FAINT, MUTED
from tui.text.sanitize import printable_line
from tui.text.units import size_text

_WIDE = 38
"""Width in cells from which rank and size fit beside the bar."""


class RackRow(Static):
    """A row; clicking selects it, clicking its mark switches the adapter."""

    @dataclass
    class Clicked(Message):
        """The row was clicked; `is_mark` says whether on its ● or ○."""

        index: int
        is_mark: bool

    def __init__(self, index: int, entry: StackEntry) -> None:
        super().__init__(markup=False, classes="rack-row")
        self.index = index
        self.entry = entry
        self.is_bypassed = False

    def show(self, entry: StackEntry, *, is_selected: bool, is_bypassed: bool) -> None:
        """Show another state of the adapter."""
        self.entry = entry
        self.is_bypassed = is_bypassed
        self.set_class(is_selected, "-selected")
        self.set_class(not entry.is_active or is_bypassed, "-off")
        self.refresh(layout=False)

    def render(self) -> Content:
        """Return the row in the width of the widget."""
        return row_content(
            self.index, self.entry, self.content_size.width, is_bypassed=self.is_bypassed
        )

    def on_click(self, event: events.Click) -> None:
        """Post where the row was clicked."""
        event.stop()
        self.post_message(self.Clicked(self.index, event.x <= 4))


def row_content(index: int, entry: StackEntry, width: int, *, is_bypassed: bool) -> Content:
    """Return a row such as `1 ● pirate ███████░  0.70 r8 0.3 MB` in `width` cells."""
    is_active = entry.is_active and not is_bypassed
    number = str(index + 1) if index < 9 else " "
    mark = "●" if entry.is_active else "○"
    extra = ""
    if width >= _WIDE:
        adapter = entry.adapter
        extra = f" {'r' + adapter.rank_text:>3} {size_text(adapter.memory_bytes):>6}"
    bar_width = 8 if width >= _WIDE - 8 else 5
    name_width = max(4, width - 4 - 1 - bar_width - 6 - cell_len(extra))
    name = printable_line(entry.adapter.name)
    if cell_len(name) > name_width:
        name = set_cell_size(name, name_width - 1) + "…"
    bar = scale_bar(entry.scale, bar_width, is_active=entry.is_active)
    return Content.assemble(
        Content.styled(f"{number} ", MUTED),
        Content.styled(f"{mark} ", "$success" if is_active else MUTED),
        Content(set_cell_size(name, name_width) + " "),
        # While bypassed, the row still shows the scale that comes back.
        Content.styled(bar.plain, FAINT) if is_bypassed else bar,
        Content.styled(f" {entry.scale:5.2f}", "" if is_active else MUTED),
        Content.styled(extra, MUTED),
    )
