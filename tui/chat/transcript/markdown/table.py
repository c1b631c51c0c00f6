"""Lay out a table as text in a given width."""

from __future__ import annotations

from textual.content import Content

from tui.chat.transcript.markdown.block import Table

_GAP = 3
_NARROWEST = 6


def column_widths(table: Table, width: int) -> list[int]:
    """Return the widths of the columns in cells: as wide as needed, the widest cut to fit."""
    widths = [
        max(
            1,
            *(
                max(line.cell_length for line in row[index].split(allow_blank=True))
                for row in table.rows
            ),
        )
        for index in range(len(table.alignments))
    ]
    room = width - _GAP * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widest = widths.index(max(widths))
        second = max([w for i, w in enumerate(widths) if i != widest], default=0)
        least = max(_NARROWEST, second if second < widths[widest] else widths[widest] - 1)
        widths[widest] = max(least, widths[widest] - (sum(widths) - room))
    return widths


def table_content(table: Table, width: int) -> Content:
    """Return the table as text of at most `width` cells, if the columns allow it."""
    widths = column_widths(table, width)
    lines: list[Content] = []
    for number, row in enumerate(table.rows):
        cells = [
            cell.wrap(column) or [Content("")] for cell, column in zip(row, widths, strict=True)
        ]
        for height in range(max(len(cell) for cell in cells)):
            parts = [
                _aligned(cell[height] if height < len(cell) else Content(""), column, alignment)
                for cell, column, alignment in zip(cells, widths, table.alignments, strict=True)
            ]
            line = Content(" │ ").join(parts)
            lines.append(line.stylize("bold") if number == 0 else line)
        if number == 0:
            lines.append(Content("─┼─".join("─" * column for column in widths)))
    return Content("\n").join(lines)


def _aligned(line: Content, width: int, alignment: str) -> Content:
    blank = max(0, width - line.cell_length)
    left = {"left": 0, "center": blank // 2, "right": blank}.get(alignment, 0)
    return Content(" " * left) + line + Content(" " * (blank - left))
