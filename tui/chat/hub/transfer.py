"""How a download goes: a bar, how much is there, how fast it comes, how long it will take."""

from __future__ import annotations

from textual.content import Content

from tui.chat.parts.bar import progress_bar
from tui.chat.themes import MUTED
from tui.text.units import duration_text, size_text

_BAR_WIDTH = 16
_LEAST_S = 0.5
"""Time after which a rate means something."""


class Transfer:
    """Bytes that arrive; `took` is called in the thread of the download, the rest shows it.

    Args:
        started_s: When it began, on any clock that only goes forward.
    """

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._bytes: tuple[int, int] | None = None

    def took(self, done_bytes: int, total_bytes: int) -> None:
        """Take how many bytes are there, of how many."""
        self._bytes = done_bytes, total_bytes

    def content(self, now_s: float, width: int) -> Content:
        """Return the state as one line; in a narrow one without the bar."""
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
    """Return a time in whole seconds: a guess needs no more."""
    return (
        duration_text(round(left_s)).replace(".00s", "s").replace(".0s", "s")
        if left_s >= 1
        else "1s"
    )
