"""A progress bar on stderr for what takes longer than a person waits without wondering."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import rich.progress

APPEARS_AFTER_S = 1.0


class Progress:
    """A bar that appears on a terminal once the work has lasted over a second.

    rich is imported only then: it costs 40 ms, and most work is done sooner.
    """

    def __init__(self, appears_after_s: float = APPEARS_AFTER_S) -> None:
        self._appears_at = time.monotonic() + appears_after_s
        self._bar: rich.progress.Progress | None = None
        self._is_closed = not sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def show(self, title: str, fraction: float) -> None:
        """Show what is being done and how much of it is, from 0 to 1."""
        if self._is_closed or time.monotonic() < self._appears_at:
            return
        if self._bar is None:
            self._bar = _new_bar()
            self._bar.add_task(title, total=1.0)
            self._bar.start()
        completed = min(max(fraction, 0.0), 1.0)
        self._bar.update(self._bar.task_ids[0], completed=completed, description=title)

    def close(self) -> None:
        """Remove the bar for good; harmless when there is none."""
        self._is_closed = True
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _new_bar() -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        console=Console(stderr=True),
        transient=True,
    )
