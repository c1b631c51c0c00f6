"""Show a progress bar on stderr for work that takes long."""

from __future__ import annotations

import sys
import time
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

    def __exit__(self, *_error: object) -> None:
        self.close()

    def show(self, title: str, fraction: float) -> None:
        """Show the current work and its fraction that is done, from 0 to 1."""
        self._show(title, min(max(fraction, 0.0), 1.0), 1.0, is_bytes=False)

    def show_bytes(self, title: str, done_bytes: int, total_bytes: int) -> None:
        """Show a transfer, its bytes so far, its speed and the time left."""
        self._show(title, float(min(done_bytes, total_bytes)), float(total_bytes), is_bytes=True)

    def _show(self, title: str, done: float, total: float, *, is_bytes: bool) -> None:
        if self._is_closed or time.monotonic() < self._appears_at:
            return
        if self._bar is None:
            self._bar = _new_bar(_byte_columns() if is_bytes else _share_columns())
            # Work done before the bar appeared must not count towards the speed.
            self._bar.add_task(title, total=total, completed=int(done))
            self._bar.start()
        (task,) = self._bar.tasks
        if is_bytes and task.description != title:
            self._bar.reset(task.id)  # the speed of the transfer before says nothing about this one
        self._bar.update(task.id, completed=done, total=total, description=title)

    def close(self) -> None:
        """Remove the bar for good; does nothing if there is none."""
        self._is_closed = True
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _new_bar(columns: list[rich.progress.ProgressColumn]) -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *columns,
        console=Console(stderr=True),
        transient=True,
    )


def _share_columns() -> list[rich.progress.ProgressColumn]:
    from rich.progress import TaskProgressColumn

    return [TaskProgressColumn()]


def _byte_columns() -> list[rich.progress.ProgressColumn]:
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    return [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True)]
