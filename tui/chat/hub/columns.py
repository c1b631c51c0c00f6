"""Show a repository of the Hub as one line with as many columns as the width allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from engine.hub.search.search import Repository, Sort
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line
from tui.text.units import count_text, short_age_text, size_text

_LEAST_NAME = 28
"""Width of the name in cells below which a less important column is dropped."""
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """One fact about a repository."""

    label: str
    width: int
    text: Callable[[Repository, datetime], str]
    order: Sort | None = None
    """The sort order that uses this column."""
    is_number: bool = True

    def cell(self, text: str) -> str:
        """Return the text in the width of the column."""
        text = _cut(text, self.width)
        blank = " " * (self.width - cell_len(text))
        return blank + text if self.is_number else text + blank


def _cut(text: str, width: int) -> str:
    """Return a text shortened to at most `width` cells."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _known(value: int | None, text: Callable[[int], str]) -> str:
    return _UNKNOWN if value is None else text(value)


KIND = Column("kind", 9, lambda r, _: str(r.kind), is_number=False)
DOWNLOADS = Column("downloads", 9, lambda r, _: _known(r.downloads, count_text), "downloads")
SIZE = Column("size", 6, lambda r, _: _known(r.size_bytes, size_text))
LIKES = Column("likes", 6, lambda r, _: _known(r.likes, count_text), "likes")
AGE = Column(
    "age", 4, lambda r, now: short_age_text(r.modified, now) if r.modified else _UNKNOWN, "recent"
)
LICENCE = Column(
    "licence", 12, lambda r, _: printable_line(r.license or "") or _UNKNOWN, is_number=False
)
COLUMNS = (KIND, DOWNLOADS, LIKES, AGE, SIZE, LICENCE)
"""From left to right, after the name."""
_GIVING_WAY = (LICENCE, AGE, LIKES, SIZE, DOWNLOADS)


def columns_for(width: int) -> tuple[int, Sequence[Column]]:
    """Return the width of the name and the columns beside it, for `width` cells."""
    shown = list(COLUMNS)
    for column in _GIVING_WAY:
        if width - _needed(shown) >= _LEAST_NAME:
            break
        shown.remove(column)
    return max(8, width - _needed(shown)), shown


def _needed(columns: Sequence[Column]) -> int:
    return sum(column.width + 1 for column in columns)


def head_content(width: int, order: Sort) -> Content:
    """Return the line above the rows, with the column that orders them highlighted."""
    name_width, columns = columns_for(width)
    parts = [Content.styled(f"{'repository':<{name_width}}", MUTED)]
    for column in columns:
        style = "bold $primary" if column.order == order else MUTED
        parts.append(Content.styled(" " + column.cell(column.label), style))
    return Content("").join(parts)


def row_content(repository: Repository, width: int, now: datetime) -> Content:
    """Return the line of a repository."""
    name_width, columns = columns_for(width)
    mark = access_mark(repository)
    room = name_width - (len(mark) + 1 if mark else 0)
    name = _cut(printable_line(repository.name), room)
    blank = " " * (room - cell_len(name))
    user, slash, title = name.partition("/")
    parts = [Content.styled(user + slash, MUTED), Content(title + blank)]
    if mark:
        parts.append(Content.styled(f" {mark}", "$text-warning"))
    facts = "".join(" " + column.cell(column.text(repository, now)) for column in columns)
    return Content.assemble(*parts, Content.styled(facts, MUTED))


def access_mark(repository: Repository) -> str:
    """Return the word for restricted access, '' for a public repository."""
    if repository.is_private:
        return "private"
    return "gated" if repository.is_gated else ""
