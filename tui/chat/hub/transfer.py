"""Show the progress of a download: a bar, the size, the speed and the time left."""

from __future__ import annotations

from textual.content import Content

from tui.chat.parts.bar import progress_bar
from tui.chat.themes import MUTED
from tui.text.units import duration_text, size_text

_BAR_WIDTH = 16
_LEAST_S = 0.5
"""Time before which a rate is too uncertain to show."""


class Transfer:
    """Bytes that arrive; `took` is called in the thread of the download, `content` in the screen's.

    Args:
        started_s: When it began, on any monotonic clock.
    """

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._bytes: tuple[int, int] | None = None

    def took(self, done_bytes: int, total_bytes: int) -> None:
        """Record how many bytes have arrived, and of how many."""
        self._bytes = done_bytes, total_bytes

    def content(self, now_s: float, width: int) -> Content:
        """Return the state as one line, without the bar if `width` is too small."""
        if self._bytes is None:
            return Content.styled("downloading…", MUTED)
        done, total = self._bytes
        fraction = done / total if total else 1.0
        elapsed_s = now_s - self._started_s
        words = f"{fraction:.0%}  {size_text(done)} of {size_text(total)}"
        if elapsed_s >= _LEAST_S and done:
            rate = done / elapsed_s
            words += f"  {size_text(int(rate))}/s"
            if done < total:
                words += f"  {_rounded((total - done) / rate)} left"
        if width < len(words) + _BAR_WIDTH + 1:
            return Content(words)
        return Content.assemble(progress_bar(fraction, _BAR_WIDTH), Content(f" {words}"))


def _rounded(left_s: float) -> str:
    """Return a time as text in whole seconds: an estimate needs no more."""
    return (
        duration_text(round(left_s)).replace(".00s", "s").replace(".0s", "s")
        if left_s >= 1
        else "1s"
    )
