"""Shade the fields of a command's heat map: with colours, with shades, or with characters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import TextIO

from tui.text.heat_map import LABEL_WIDTH, Cell, HeatMap

# Colours of xterm's 256, from dark violet over green to yellow, evenly spaced in lightness like
# matplotlib's viridis: the order is visible in grey, and to most people with colour blindness.
_RAMP = (53, 54, 60, 24, 30, 36, 71, 113, 149, 227)
_FIRST_LIGHT = 5
"""Index of the first colour on which dark figures are readable and light ones are not."""
_SHADES = " ░▒▓█"
_CHARACTERS = " .:=o*#%@"


class Ink(StrEnum):
    """How a field is shaded."""

    COLOUR = "colour"
    SHADES = "shades"
    CHARACTERS = "characters"


def ink_for(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Ink:
    """Return what suits a stream: colours or shades on a terminal, characters elsewhere.

    `NO_COLOR` (no-color.org) and `TERM=dumb` are respected.
    """
    if not stream.isatty():
        return Ink.CHARACTERS
    if not environ.get("NO_COLOR") and environ.get("TERM") != "dumb":
        return Ink.COLOUR
    is_unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return Ink.SHADES if is_unicode else Ink.CHARACTERS


def map_lines(heat_map: HeatMap, ink: Ink) -> list[str]:
    """Return a heat map as lines, its legend last; with colours, these include escape sequences."""
    lines = [heat_map.title]
    for panel in heat_map.panels:
        lines += ["", panel.heading.rstrip()]
        for row in panel.rows:
            cells = "".join(_field(cell, ink) for cell in row.cells)
            lines.append(f"{row.label} {cells}{row.total:>6}".rstrip())
    return [*lines, "", _legend(heat_map, ink)]


def _legend(heat_map: HeatMap, ink: Ink) -> str:
    steps = {
        Ink.COLOUR: "".join(_coloured("  ", index) for index in range(len(_RAMP))),
        Ink.SHADES: _SHADES,
        Ink.CHARACTERS: _CHARACTERS,
    }[ink]
    unit = heat_map.unit
    return (
        f"{'0':>{LABEL_WIDTH}} [{steps}] {heat_map.highest}{unit}   lowest {heat_map.lowest}{unit}"
    )


def _field(cell: Cell, ink: Ink) -> str:
    if cell.level is None:
        return cell.text
    if ink is Ink.COLOUR:
        return _coloured(cell.text, _step(cell.level, len(_RAMP)))
    steps = _SHADES if ink is Ink.SHADES else _CHARACTERS
    mark = steps[_step(cell.level, len(steps))]
    # Replaces the two blanks before the figures, so that columns stay aligned.
    return mark * 2 + cell.text[2:]


def _step(level: float, n_steps: int) -> int:
    return max(0, min(n_steps - 1, round(level * (n_steps - 1))))


def _coloured(text: str, step: int) -> str:
    figures = 16 if step >= _FIRST_LIGHT else 231
    return f"\x1b[48;5;{_RAMP[step]};38;5;{figures}m{text}\x1b[0m"
