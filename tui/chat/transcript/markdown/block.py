"""Data types that Markdown is parsed into: flat blocks with the prefixes of their lines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from textual.content import Content

NOTHING = Content("")

Alignment = str
"""Alignment of a table column: `left`, `center` or `right`."""


class Kind(StrEnum):
    """Kind of a block; also the class that its widget is styled by."""

    PARAGRAPH = "paragraph"
    HEADING = "heading"
    CODE = "code"
    TABLE = "table"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of a table, the header row first."""

    rows: tuple[tuple[Content, ...], ...]
    alignments: tuple[Alignment, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One leaf of the Markdown tree; lists and quotes around it are prefixes of its lines."""

    kind: Kind
    content: Content = NOTHING
    """Styled text; for code, the source without styles; empty for tables and rules."""
    first: str = ""
    """Prefix of the first line, such as `• `."""
    rest: str = ""
    """Prefix of every other line; as wide as `first`."""
    is_item: bool = False
    """Whether the block opens a list item."""
    depth: int = 0
    """How many lists the block is nested in."""
    language: str = ""
    """First word of a fence's info string."""
    table: Table | None = None


def has_gap(previous: Block | None, block: Block) -> bool:
    """Return whether an empty line separates two blocks, which items of a list do not have."""
    if previous is None:
        return False
    return not (block.is_item and previous.depth > 0)
