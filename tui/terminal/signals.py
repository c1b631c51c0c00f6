"""What a process does that the system tells to end: it takes with it what it has half written."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Of `kill`, and of a terminal that was closed; Windows knows the first alone."""


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """End by `SystemExit` with 128 + n while the block runs, so that its `finally` clauses run.

    By default the system ends a process on the spot, and of a merge gigabytes stay behind. A signal
    that is ignored, as under `nohup`, stays so. To be entered in the main thread.
    """
    taken = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
