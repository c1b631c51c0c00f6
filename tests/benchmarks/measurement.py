"""How everything here is measured: things to compare in turn, medians, ratios, named figures."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from statistics import median
from typing import TypeVar

Way = TypeVar("Way")
Sample = TypeVar("Sample")
Value = float | bool | None

NOT_AVAILABLE = "not available"


class Unit(Enum):
    """What a figure counts; the value is what its key ends in."""

    RATIO = ""
    SECONDS = "_s"
    TOKENS_PER_S = "_tokens_per_s"
    BYTES = "_bytes"


class Report:
    """Figures under unique keys, and the tables that show them.

    Args:
        show: Told every line of the tables.
    """

    def __init__(self, show: Callable[[str], None] = print) -> None:
        self._show = show
        self.figures: dict[str, Value] = {}
        """In base units (seconds, bytes); None is what the engine does not offer."""

    def add(self, key: str, value: float | None, unit: Unit = Unit.RATIO) -> str:
        """Keep a figure under `key` with its unit's ending and return it as text.

        Raises:
            ValueError: The key is taken, or the value is not finite.
        """
        self._keep(key + unit.value, value)
        return text_of(value, unit)

    def add_flag(self, key: str, is_so: bool) -> None:
        """Keep a yes or no, such as whether a goal was reached; ValueError if the key is taken."""
        self._keep(key, is_so)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows under a header, the first column to the left and the others to the right."""
        self._show(f"\n{title}")
        lines = [header, *rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(n) for cell, n in zip(line[1:], widths[1:], strict=True)]
            self._show("  " + "  ".join(cells).rstrip())

    def line(self, text: str) -> None:
        """Show one line."""
        self._show(text)

    def write_json(self, path: Path) -> None:
        """Write every figure as one flat JSON object."""
        text = json.dumps(self.figures, indent=2, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    def _keep(self, key: str, value: Value) -> None:
        if key in self.figures:
            raise ValueError(f"Two figures are called {key!r}.")
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{key} is {value}, which is no measurement.")
        self.figures[key] = value


async def in_turn(
    n_rounds: int,
    ways: Mapping[Way, Callable[[], Awaitable[Sample | None]]],
    budget_s: float = math.inf,
) -> dict[Way, list[Sample]]:
    """Take `n_rounds` samples of each way and return them by way, in the order of the rounds.

    Every round takes one of each, so that other work on the machine and a processor that heats up
    fall on all alike; every second round goes backwards, so that none is always the first. A way
    that gives None is not available: it is not tried again and has no samples. After the first, a
    round begins only if one as long as the longest before it ends within `budget_s`.
    """
    started_s, longest_s = time.perf_counter(), 0.0
    samples: dict[Way, list[Sample]] = {way: [] for way in ways}
    missing: set[Way] = set()
    for n in range(n_rounds):
        begun_s = time.perf_counter()
        if n > 0 and begun_s - started_s + longest_s > budget_s:
            note(f"{n} of {n_rounds} rounds: another one would take longer than is meant")
            break
        for way in list(ways) if n % 2 == 0 else list(ways)[::-1]:
            if way in missing:
                continue
            progress(f"round {n + 1} of {n_rounds}: {way}")
            sample = await ways[way]()
            if sample is None:
                missing.add(way)
                samples[way].clear()
            else:
                samples[way].append(sample)
        longest_s = max(longest_s, time.perf_counter() - begun_s)
    return samples


def middle(samples: Sequence[float]) -> float | None:
    """Return the median, or None of no samples."""
    return median(samples) if samples else None


def ratio(above: Sequence[float], below: Sequence[float]) -> float | None:
    """Return the median over the rounds of one divided by the other, or None without samples.

    Two samples of one round were taken close together, so what slows the machine for a while
    cancels out, which it does not in a ratio of medians.
    """
    if not above or not below:
        return None
    return median(a / b for a, b in zip(above, below, strict=True))


def text_of(value: float | None, unit: Unit) -> str:
    """Return a figure as a person reads it."""
    if value is None:
        return NOT_AVAILABLE
    match unit:
        case Unit.SECONDS:
            return f"{value:.2f} s" if abs(value) >= 1 else f"{_short(value * 1e3)} ms"
        case Unit.BYTES:
            return f"{_short(value / 1e6)} MB"
        case Unit.TOKENS_PER_S:
            return _short(value)
        case Unit.RATIO:  # near a bound of 0.97 two digits would not tell
            return f"{value:.3f}" if abs(value) < 2 else _short(value)


def progress(text: str) -> None:
    """Say on stderr what is being measured; on a terminal the line is written over."""
    end = "" if sys.stderr.isatty() else "\n"
    clear_progress()
    print(text, end=end, file=sys.stderr, flush=True)


def clear_progress() -> None:
    """Take the line of `progress` off the terminal before anything else is printed."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Say something on stderr that stays there."""
    clear_progress()
    print(text, file=sys.stderr, flush=True)


def _short(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
