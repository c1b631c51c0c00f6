"""How the commands speak: data on stdout, narration on stderr, no control characters."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tui.sanitize import printable, printable_line

_GAP = "    "
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def write_text(text: str) -> None:
    """Write a text to stdout, cleaned, ending with a newline; an empty text writes nothing."""
    if text:
        shown = printable(text)
        sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")


def write_source(text: str) -> None:
    """Write a text that has to come back unchanged, such as a Modelfile.

    It is cleaned only on a terminal: into a file or a pipe goes every character of it.
    """
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def write_json(document: Any) -> None:
    """Write one JSON document to stdout; control characters in it are escaped.

    JSON is UTF-8, and paths need not be: their other bytes become U+FFFD.
    """
    import msgspec

    try:
        encoded = msgspec.json.encode(document)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_as_utf_8(msgspec.to_builtins(document)))
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def _as_utf_8(value: Any) -> Any:
    """Return a document of builtins with U+FFFD for what UTF-8 cannot hold."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_as_utf_8(key): _as_utf_8(each) for key, each in value.items()}
    return [*map(_as_utf_8, value)] if isinstance(value, (list, tuple)) else value


def table_lines(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines with left-aligned columns, four blanks apart and without borders."""
    cells = [[printable_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return a sentence in lines of at most `width` cells, 20 at least.

    A path or a reference that is longer is not cut, and none is broken at a hyphen: it could not be
    copied.
    """
    import textwrap

    return textwrap.wrap(
        printable_line(text),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def warn(sentence: str) -> None:
    """Say on stderr that something is not as the person may expect."""
    _narrate("Warning", sentence)


def note(sentence: str) -> None:
    """Say on stderr what else is worth knowing."""
    _narrate("Note", sentence)


def _narrate(kind: str, sentence: str) -> None:
    print(f"{kind}: {printable_line(sentence)}", file=sys.stderr)


class AnswerStream:
    """An answer written to stdout piece by piece, cleaned, each piece visible at once.

    What a reasoning model thinks comes before it, between two lines that Ollama writes too.
    """

    def __init__(self, is_shown: bool = True) -> None:
        self._is_shown = is_shown
        self._is_thinking = False
        self._last = "\n"

    def think(self, thinking: str) -> None:
        """Write the next piece of what the model thinks."""
        if not self._is_thinking:
            self._is_thinking = True
            self._write("Thinking...\n")
        self._write(thinking)

    def write(self, text: str) -> None:
        """Write the next piece of the answer."""
        if self._is_thinking:
            self._is_thinking = False
            self._write("\n...done thinking.\n\n")
        self._write(text)

    def _write(self, text: str) -> None:
        shown = printable(text)
        if self._is_shown and shown:
            sys.stdout.write(shown)
            sys.stdout.flush()
            self._last = shown[-1]

    def end(self) -> None:
        """End the line if one has begun, so that whatever follows starts a new one."""
        if self._last != "\n":
            self._write("\n")
