"""Results of a search of the Hub as lines and as JSON, with whether each fits a base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.hub.search.search import Repository
from tui.commands.hub.judged import Found
from tui.text.sanitize import printable_line
from tui.text.tables import wrapped
from tui.text.units import age_text, count_text, size_text

_HEADINGS = ("REPOSITORY", "KIND", "DOWNLOADS", "LIKES", "MODIFIED", "SIZE", "LICENSE", "ACCESS")
# Lines are printed before the next is known, so the widths are those of usual texts.
_WIDTHS = (46, 9, 9, 6, 14, 6, 12, 7)
_GIVING_WAY = ("LICENSE", "MODIFIED", "LIKES", "SIZE", "KIND", "DOWNLOADS", "ACCESS")
"""Columns that a narrow terminal drops, the least important first."""
_LEAST_NAME = 32
_FIT_WIDTH = 12
_INDENT = "    "
_GAP = "  "
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class FoundTable:
    """Formats repositories as lines, one by one as they become known.

    In a file or a pipe each takes one whole line, with the reason why it does not fit at its end.
    On a terminal the lines have as many columns as there is room for, and a reason takes lines of
    its own.
    """

    has_fit: bool = False
    columns: int | None = None
    """Width of the terminal in cells; None if the output is not a terminal."""

    def heading(self) -> str:
        """Return the line above the rows."""
        return self._line(_HEADINGS, "FIT" if self.has_fit else "")

    def row(self, found: Found) -> str:
        """Return the line of a repository, and on a terminal the lines of its reason, if any."""
        cells = _cells(found.repository)
        fit = found.fit
        if fit is None:
            return self._line(cells)
        reason = printable_line(fit.reason)
        if self.columns is None:
            return self._line(cells, f"{fit.verdict}: {reason}" if reason else str(fit.verdict))
        line = self._line(cells, str(fit.verdict))
        if not reason:
            return line
        width = max(_LEAST_NAME, self.columns - 1)
        return "\n".join((line, *wrapped(reason, width, _INDENT)))

    def _line(self, cells: Sequence[str], more: str = "") -> str:
        texts = [printable_line(cell) for cell in (*cells, more)]
        shown = [
            text.ljust(width)
            for text, width in zip(texts, (*self._widths(), _FIT_WIDTH), strict=True)
            if width
        ]
        return _GAP.join(shown).rstrip()

    def _widths(self) -> tuple[int, ...]:
        """Return the widths of the columns, 0 for one that is dropped."""
        if self.columns is None:
            return _WIDTHS
        widths = dict(zip(_HEADINGS, _WIDTHS, strict=True))
        room = self.columns - (_FIT_WIDTH + len(_GAP) if self.has_fit else 0)
        widths["REPOSITORY"] = 0
        for heading in _GIVING_WAY:
            if room - _needed(widths) >= _LEAST_NAME:
                break
            widths[heading] = 0
        widths["REPOSITORY"] = max(_LEAST_NAME, min(_WIDTHS[0], room - _needed(widths)))
        return tuple(widths.values())


def _needed(widths: Mapping[str, int]) -> int:
    return sum(width + len(_GAP) for width in widths.values() if width)


def _cells(repository: Repository) -> tuple[str, ...]:
    age = age_text(repository.modified, datetime.now(UTC)) if repository.modified else _UNKNOWN
    return (
        repository.name,
        str(repository.kind),
        _UNKNOWN if repository.downloads is None else count_text(repository.downloads),
        _UNKNOWN if repository.likes is None else count_text(repository.likes),
        age,
        _UNKNOWN if repository.size_bytes is None else size_text(repository.size_bytes),
        repository.license or _UNKNOWN,
        _access(repository),
    )


def document(found: Found) -> dict[str, Any]:
    """Return a repository as an object for scripts; unknown values are null."""
    repository, fit = found.repository, found.fit
    return {
        "repository": repository.name,
        "kind": str(repository.kind),
        "downloads": repository.downloads,
        "likes": repository.likes,
        "modified": repository.modified.isoformat() if repository.modified else None,
        "size_bytes": repository.size_bytes,
        "license": repository.license,
        "gated": repository.is_gated,
        "private": repository.is_private,
        "base_models": list(repository.base_models),
        "revision": repository.sha,
        "fit": None if fit is None else str(fit.verdict),
        "reason": fit.reason if fit is not None and fit.reason else None,
    }


def _access(repository: Repository) -> str:
    if repository.is_gated:
        return "gated"
    return "private" if repository.is_private else "open"
