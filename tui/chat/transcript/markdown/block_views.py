"""Widgets of Markdown blocks: one per block, with the prefixes of lists and quotes beside it."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region, Size
from textual.highlight import highlight
from textual.strip import Strip
from textual.visual import Visual
from textual.widgets import Static

from tui.chat.transcript.markdown.block import NOTHING, Block, Kind, Table
from tui.chat.transcript.markdown.table import table_content


class BlockView(Static):
    """A block as text; the prefix is drawn in the left padding, so wrapped lines hang beside it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"block--prefix"}

    def __init__(self, block: Block, *, has_gap: bool = False) -> None:
        super().__init__(block.content, markup=False, classes=f"block -{block.kind}")
        self.block = block
        self._show_prefix(block)
        self.set_class(has_gap, "-gap")

    def _show_prefix(self, block: Block) -> None:
        self._first, self._rest = block.first, block.rest
        self.styles.padding = (0, 0, 0, cell_len(block.first))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Render the lines and draw the prefix into their padding."""
        strips = super().render_lines(crop)
        width = cell_len(self._first)
        if not width or crop.x:
            return strips
        style = self.get_component_rich_style("block--prefix")
        return [
            Strip.join(
                [
                    Strip([Segment(self._first if crop.y + y == 0 else self._rest, style)], width),
                    strip.crop(width),
                ]
            )
            for y, strip in enumerate(strips)
        ]


class CodeView(BlockView):
    """A code block that keeps its source, so that it can be copied as it was written."""

    def __init__(self, block: Block, *, has_gap: bool = False) -> None:
        super().__init__(block, has_gap=has_gap)
        # Without a language the highlighter would guess one, which can change as text grows.
        self.update(highlight(block.content.plain, language=block.language or "text"))

    @property
    def source(self) -> str:
        """The code without styles."""
        return self.block.content.plain


class TableView(BlockView):
    """A table, laid out again whenever its width changes."""

    def __init__(self, block: Block, *, has_gap: bool = False) -> None:
        super().__init__(block, has_gap=has_gap)
        self._table = block.table or Table((), ())
        self._width = 0
        self._layout = NOTHING

    def layout_for(self, width: int) -> Content:
        """Return the table laid out in `width` cells."""
        if width != self._width:
            self._width, self._layout = width, table_content(self._table, width)
        return self._layout

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of lines in `width` cells."""
        return len(self.layout_for(width).split(allow_blank=True))

    def render(self) -> Visual:
        """Return the table in the width of the widget."""
        return self.layout_for(self.content_size.width or 80)


class TailView(BlockView):
    """The one live block: the text that is not settled yet, without highlighting."""

    def __init__(self) -> None:
        super().__init__(Block(Kind.PARAGRAPH))
        self.add_class("-tail")

    def show(self, blocks: list[Block], *, has_gap: bool, width: int) -> None:
        """Show the blocks of the tail in `width` cells; a single block keeps its prefix."""
        self.set_class(has_gap and bool(blocks), "-gap")
        if len(blocks) == 1 and blocks[0].kind is not Kind.RULE:
            self._show_prefix(blocks[0])
            self.update(_plain(blocks[0], width - cell_len(blocks[0].first)))
            return
        self._show_prefix(Block(Kind.PARAGRAPH))
        lines: list[Content] = []
        for block in blocks:
            text = _plain(block, width - cell_len(block.first)).split(allow_blank=True)
            lines += [
                Content(block.rest if y else block.first) + line for y, line in enumerate(text)
            ]
        self.update(Content("\n").join(lines))


def _plain(block: Block, width: int) -> Content:
    if block.table is not None:
        return table_content(block.table, max(1, width))
    if block.kind is Kind.RULE:
        return Content("─" * max(1, width))
    return block.content.stylize("bold") if block.kind is Kind.HEADING else block.content


def view_of(block: Block, *, has_gap: bool) -> BlockView:
    """Return the widget of a block, for live and stored answers alike."""
    match block.kind:
        case Kind.CODE:
            return CodeView(block, has_gap=has_gap)
        case Kind.TABLE:
            return TableView(block, has_gap=has_gap)
        case _:
            return BlockView(block, has_gap=has_gap)
