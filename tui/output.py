"""How the commands speak: data on stdout, narration on stderr, no control characters."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tui.sanitize import printable, printable_line

_GAP = "    "


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
    """Write one JSON document to stdout; control characters in it are escaped."""
    import msgspec

    encoded = msgspec.json.format(msgspec.json.encode(document), indent=2)
    sys.stdout.write(encoded.decode() + "\n")


def table_lines(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines with left-aligned columns, four blanks apart and without borders."""
    cells = [[printable_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


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
