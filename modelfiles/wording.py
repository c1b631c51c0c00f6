"""Helpers for error messages: suggest the nearest known word, and quote a text safely."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

NO_COMMENT: Final = "a # begins a comment only at the start of a line"
COMMENT: Final = re.compile(r"[ \t]#")
"""What looks like a comment behind a value."""
_MAX_QUOTED = 60


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most similar to `word`, ignoring case; None if none is close."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def hint(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean "x"?)` for the nearest known word, else an empty text."""
    found = nearest(word, known)
    return f' (did you mean "{found}"?)' if found is not None else ""


def printable(text: object) -> str:
    """Return `text` on one line, with every control or invisible character replaced.

    Messages show names and contents of files, which may hold terminal escape sequences.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def shortened(text: object) -> str:
    """Return `text` printable and shortened to at most 60 characters, without quotes."""
    return _cut(printable(text))


def quoted(text: str) -> str:
    """Return `text` in double quotes, printable and shortened to at most 60 characters."""
    return f'"{shortened(text)}"'


def shown(text: str) -> str:
    """Return text from a file quoted for a message: escaped, and shortened if long."""
    return repr(_cut(text))


def listed(names: Sequence[str], most: int) -> str:
    """Return names separated by commas, those after the first `most` as `and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…"
