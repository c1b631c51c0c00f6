"""Unwind the program when the system tells it to end, so that half-written files are removed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals of `kill` and of a closed terminal; Windows has only the first."""


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """Raise `SystemExit` with 128 + n on these signals, so that `finally` clauses run.

    By default the system ends the process at once, and a merge would leave gigabytes behind. A
    signal that is ignored, as under `nohup`, stays ignored. Must be entered in the main thread.
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
