"""Sample alternatives in turn, and report medians, ratios and named figures."""

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
    """The unit of a figure; the value is the suffix of its key."""

    RATIO = ""
    SECONDS = "_s"
    TOKENS_PER_S = "_tokens_per_s"
    BYTES = "_bytes"


class Report:
    """Figures under unique keys, and the tables that show them.

    Args:
        show: Receives every line of the tables.
    """

    def __init__(self, show: Callable[[str], None] = print) -> None:
        self._show = show
        self.figures: dict[str, Value] = {}
        """Figures by key, in base units (seconds, bytes); None if not available."""

    def add(self, key: str, value: float | None, unit: Unit = Unit.RATIO) -> str:
        """Add a figure under `key` with its unit's suffix, and return it as text.

        Raises:
            ValueError: The key is taken, or the value is not finite.
        """
        self._keep(key + unit.value, value)
        return text_of(value, unit)

    def add_flag(self, key: str, is_so: bool) -> None:
        """Add a boolean, such as whether a goal was reached; ValueError if the key is taken."""
        self._keep(key, is_so)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows under a header; align the first column left, the others right."""
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

    Every round takes one sample of each way, so that other load and thermal throttling affect all
    ways alike; every second round runs in reverse order, so that no way is always first. A way
    that gives None is not available: it is not tried again and has no samples. After the first, a
    round only begins if one as long as the longest so far would end within `budget_s`.
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
    """Return the median, or None without samples."""
    return median(samples) if samples else None


def ratio(above: Sequence[float], below: Sequence[float]) -> float | None:
    """Return the median over the rounds of `above / below`, or None without samples.

    The samples of one round are close in time, so a temporary slowdown of the machine cancels
    out, which it does not in a ratio of medians.
    """
    if not above or not below:
        return None
    return median(a / b for a, b in zip(above, below, strict=True))


def text_of(value: float | None, unit: Unit) -> str:
    """Return a figure as text for the tables."""
    if value is None:
        return NOT_AVAILABLE
    match unit:
        case Unit.SECONDS:
            return f"{value:.2f} s" if abs(value) >= 1 else f"{_short(value * 1e3)} ms"
        case Unit.BYTES:
            return f"{_short(value / 1e6)} MB"
        case Unit.TOKENS_PER_S:
            return _short(value)
        case Unit.RATIO:  # two digits are too few near a bound of 0.97
            return f"{value:.3f}" if abs(value) < 2 else _short(value)


def progress(text: str) -> None:
    """Show on stderr what is being measured; on a terminal, overwrite the previous line."""
    end = "" if sys.stderr.isatty() else "\n"
    clear_progress()
    print(text, end=end, file=sys.stderr, flush=True)


def clear_progress() -> None:
    """Clear the line of `progress` from the terminal, before other output."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Print a permanent line on stderr."""
    clear_progress()
    print(text, file=sys.stderr, flush=True)


def _short(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
