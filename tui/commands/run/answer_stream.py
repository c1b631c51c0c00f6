"""Print an answer on stdout while it is generated."""

from __future__ import annotations

import sys

from tui.text.sanitize import printable


class AnswerStream:
    """An answer written to stdout piece by piece, cleaned, each piece visible at once.

    A reasoning model's thoughts come before it, between two lines that Ollama prints too.
    """

    def __init__(self, is_shown: bool = True) -> None:
        self._is_shown = is_shown
        self._is_thinking = False
        self._last = "\n"

    def think(self, thinking: str) -> None:
        """Write the next piece of the model's thoughts."""
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
        """End a line that has begun, so that later output starts a new one."""
        if self._last != "\n":
            self._write("\n")
