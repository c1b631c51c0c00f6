"""Turn token bytes into displayable text: whole characters, never part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns pieces of bytes into text and ends at the first stop string.

    Text that could begin a stop string is held back until more text rules that out.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stop for stop in stops if stop)
        self._pending = ""
        self.is_stopped = False
        """Whether a stop string has occurred; it and the text after it are dropped."""

    def push(self, piece: bytes) -> str:
        """Add a piece and return the text that can be shown."""
        return self._release(self._decoder.decode(piece))

    def finish(self) -> str:
        """Return the text held back, with U+FFFD for an incomplete character."""
        text = self._release(self._decoder.decode(b"", final=True))
        text, self._pending = text + self._pending, ""
        return text

    def _release(self, text: str) -> str:
        if self.is_stopped:
            return ""
        self._pending += text
        ends = [self._pending.find(stop) for stop in self._stops]
        found = [end for end in ends if end >= 0]
        if found:
            text, self._pending = self._pending[: min(found)], ""
            self.is_stopped = True
            return text
        n_held = max((overlap(self._pending, stop) for stop in self._stops), default=0)
        split = len(self._pending) - n_held
        text, self._pending = self._pending[:split], self._pending[split:]
        return text


def overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of `text` that is a proper prefix of `stop`."""
    return next(
        (n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0
    )
