"""Lay rows out as columns, and wrap sentences, for plain output."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from tui.text.sanitize import printable_line

_GAP = "    "


def table_lines(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines with left-aligned columns, four blanks apart and without borders."""
    cells = [[printable_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return a sentence in lines of at most `width` cells; a width below 20 counts as 20.

    A longer path or reference is not cut, and no word is broken at a hyphen, so that it can be
    copied.
    """

    return textwrap.wrap(
        printable_line(text),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
