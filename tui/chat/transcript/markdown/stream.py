"""Parse a Markdown text that arrives in pieces, into settled blocks and one live tail."""

from __future__ import annotations

from tui.chat.transcript.markdown.block import Block
from tui.chat.transcript.markdown.parse import Unit, parse_units
from tui.text.sanitize import printable


class MarkdownStream:
    """Splits a growing text so that settled blocks never change.

    A block is settled once a complete line has begun the next one, after which CommonMark never
    reopens it. Only the tail is parsed again, so the total work stays linear. The blocks of all
    calls together equal `parse_blocks` of the whole text, however it was split.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._ordinal: int | None = None
        self._has_new_line = False

    def feed(self, text: str) -> None:
        """Add a piece of the text."""
        piece = printable(text)
        self._tail += piece
        self._has_new_line = self._has_new_line or "\n" in piece

    def settle(self) -> list[Block]:
        """Return the blocks that have become final since the last call."""
        if not self._has_new_line:
            return []
        self._has_new_line = False
        lines = self._tail.splitlines(keepends=True)
        whole = lines if self._tail.endswith("\n") else lines[:-1]
        *settled, last = parse_units("".join(whole), self._ordinal) or [Unit(0, None, ())]
        if settled:
            self._tail = "".join(lines[last.start_line :])
            self._ordinal = last.ordinal
        return [block for unit in settled for block in unit.blocks]

    def tail(self) -> list[Block]:
        """Return the blocks of the text that is not settled yet."""
        return [b for unit in parse_units(self._tail, self._ordinal) for b in unit.blocks]

    def finish(self) -> list[Block]:
        """Settle everything, as at the end of the text, and return those blocks."""
        blocks = self.tail()
        self._tail, self._ordinal = "", None
        return blocks
