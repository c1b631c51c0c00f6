"""Lay a grid of norms out as rows of shaded cells with numbers, for commands and chat."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.adapters.inspection.norm_grid import NormGrid
from tui.text.sanitize import printable_line

LABEL_WIDTH = 5
"""Width in cells of the column with the layers' numbers."""
_CELL_WIDTH = 8
_TOTAL_WIDTH = 7
_MAX_HEADING = 11
_ABSENT = "·"


@dataclass(frozen=True, slots=True)
class Cell:
    """One field: its number as padded text, and how dark it is shaded."""

    text: str
    level: float | None
    """From 0 to 1, the largest value of the grid; None for a field without shade."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a panel: a label, fields side by side, and the row's total without shade."""

    label: str
    cells: tuple[Cell, ...]
    total: str


@dataclass(frozen=True, slots=True)
class Panel:
    """As many columns as fit side by side, with their rows."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A heat map as text and fields, ready to be coloured."""

    title: str
    panels: tuple[Panel, ...]
    lowest: str
    highest: str
    unit: str
    """Suffix of a number in the legend: ` %`, or empty."""


def heat_map(grid: NormGrid, width: int) -> HeatMap:
    """Return the heat map of a grid in at most `width` cells, in several panels if it is wide.

    A field's shade is its share of the largest value, so half as dark means half as much.
    """
    factor = 100.0 if grid.is_relative else 1.0
    values = [value * factor for value in grid.values]
    peak = max(values, default=0.0)
    number = _Numbers(peak)
    title = "|delta| / |W| in %" if grid.is_relative else "|delta|"
    title += f", Frobenius norms at scale 1{number.note}"

    def text(value: float | None) -> str:
        return _ABSENT if value is None else number.text(value * factor)

    def cell(value: float | None, cell_width: int) -> Cell:
        level = None if value is None else (value * factor / peak if peak else 0.0)
        return Cell(f"{text(value):>{cell_width - 1}} ", level)

    headings = _headings(grid.modules)
    widths = [max(_CELL_WIDTH, len(heading) + 1) for heading in headings]
    panels = []
    for start, stop in _fitting(widths, width - LABEL_WIDTH - 1 - _TOTAL_WIDTH):
        part = slice(start, stop)
        rows = [
            Row(
                f"{layer:>{LABEL_WIDTH}}",
                tuple(cell(v, w) for v, w in zip(row[part], widths[part], strict=True)),
                text(total),
            )
            for layer, row, total in zip(grid.layers, grid.cells, grid.by_layer, strict=True)
        ]
        totals = tuple(
            Cell(f"{text(value):>{cell_width - 1}} ", None)
            for value, cell_width in zip(grid.by_module[part], widths[part], strict=True)
        )
        rows.append(Row(f"{'all':>{LABEL_WIDTH}}", totals, text(grid.total)))
        names = zip(headings[part], widths[part], strict=True)
        heading = "".join(f"{name:>{cell_width - 1}} " for name, cell_width in names)
        panels.append(
            Panel(f"{'layer':>{LABEL_WIDTH}} {heading}{'all':>{_TOTAL_WIDTH - 1}}", tuple(rows))
        )
    if grid.others:
        label_width = max(len(printable_line(name)) for name, _ in grid.others)
        rows = [
            Row(f"{printable_line(name):<{label_width}}", (cell(value, _CELL_WIDTH),), "")
            for name, value in grid.others
        ]
        panels.append(Panel("outside the layers", tuple(rows)))
    return HeatMap(
        title,
        tuple(panels),
        number.text(min(values, default=0.0)),
        number.text(peak),
        " %" if grid.is_relative else "",
    )


class _Numbers:
    """Formats numbers with as many decimals as suit the largest, in five characters."""

    def __init__(self, peak: float) -> None:
        exponent = math.floor(math.log10(peak)) if peak > 0 and math.isfinite(peak) else 0
        is_usual = -2 <= exponent <= 3
        self._unit = 1.0 if is_usual else 10.0**exponent
        self._decimals = max(0, min(3, 2 - (exponent if is_usual else 0)))
        self.note = "" if is_usual else f", in units of {self._unit:g}"

    def text(self, value: float) -> str:
        return f"{value / self._unit:.{self._decimals}f}"


def _headings(modules: Sequence[str]) -> list[str]:
    """Return the modules' names without redundant parts, such as `q` for `attn_q`."""
    short = [re.sub(r"^(attn|ffn)_|^.*\.|_proj$", "", module) for module in modules]
    if len(set(short)) < len(short):
        short = list(modules)
    return [
        name if len(name) <= _MAX_HEADING else "…" + name[1 - _MAX_HEADING :]
        for name in map(printable_line, short)
    ]


def _fitting(widths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Cut columns into ranges that fit in `room` cells, each of at least one column."""
    ranges, start, used = [], 0, 0
    for index, width in enumerate(widths):
        if used + width > room and index > start:
            ranges.append((start, index))
            start, used = index, 0
        used += width
    return [*ranges, (start, len(widths))] if widths else []
