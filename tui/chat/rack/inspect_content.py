"""Page of an inspected adapter in the chat, coloured by the theme."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from textual.content import Content

from engine.adapters.inspection.inspect import Inspection
from engine.adapters.inspection.norm_grid import norm_grid
from engine.adapters.inspection.overlap import Overlap, cosine_text
from tui.chat.rack.details import short_path
from tui.chat.themes import MUTED
from tui.text.heat_map import LABEL_WIDTH, Cell, HeatMap, heat_map
from tui.text.inspection_rows import WEIGHTS_ONLY, identity_rows, module_lines
from tui.text.sanitize import printable_line

_BLANK = Content("")
_LABEL_WIDTH = 14
_LEAST_ROOM = 10
_LEGEND_STEPS = 12
_DARK_FROM = 0.62
"""Share of the colour from which text in the background's colour is easier to read on it."""


def inspection_content(
    inspection: Inspection, scale: float, overlaps: Sequence[Overlap], width: int
) -> Content:
    """Return the page of one adapter for `width` cells: identity, fit, norms, overlap, modules."""
    rows = identity_rows(inspection, scale)
    rows = [(name, short_path(value) if name == "file" else value) for name, value in rows]
    lines = [_pair(name, value, width) for name, value in rows if name not in ("sha256", "tags")]
    lines += [_BLANK, *_fit_lines(inspection)]
    grid = norm_grid(inspection)
    if grid is not None and grid.values:
        lines += [_BLANK, *map_lines(heat_map(grid, width))]
    lines += _overlap_lines(overlaps, inspection.name)
    heading, *modules = module_lines(inspection)
    lines += [_BLANK, Content.styled(heading, MUTED), *map(Content, modules)]
    return Content("\n").join(lines)


def map_lines(heat: HeatMap) -> list[Content]:
    """Return a heat map as lines; a higher level is shaded nearer to the primary colour."""
    lines = [Content.styled(heat.title, MUTED)]
    for panel in heat.panels:
        lines.append(Content.styled(panel.heading, MUTED))
        for row in panel.rows:
            cells = [_field(cell) for cell in row.cells]
            label = Content.styled(f"{row.label} ", MUTED)
            lines.append(Content.assemble(label, *cells, f"{row.total:>6}"))
    steps = (_field(Cell("  ", index / (_LEGEND_STEPS - 1))) for index in range(_LEGEND_STEPS))
    lines.append(
        Content.assemble(
            Content.styled(f"{'0':>{LABEL_WIDTH}} ", MUTED),
            *steps,
            Content.styled(f" {heat.highest}{heat.unit}   lowest {heat.lowest}{heat.unit}", MUTED),
        )
    )
    return lines


def _field(cell: Cell) -> Content:
    if cell.level is None:
        return Content.styled(cell.text, MUTED)
    share = max(0.0, min(1.0, cell.level))
    colour = "$background" if share > _DARK_FROM else "$foreground"
    return Content.styled(cell.text, f"{colour} on $primary {math.ceil(share * 100)}%")


def _fit_lines(inspection: Inspection) -> list[Content]:
    lines = [
        Content.styled(printable_line(verdict.fault), "$text-error")
        for verdict in inspection.broken
    ]
    if not lines:
        n_rules = len(inspection.verdicts)
        lines = [Content.styled(f"fits this base: {n_rules} of {n_rules} rules hold", "$success")]
    notices = (printable_line(notice) for notice in inspection.notices)
    return [*lines, *(Content.styled(notice, "$text-warning") for notice in notices)]


def _overlap_lines(overlaps: Sequence[Overlap], name: str) -> list[Content]:
    """Return the overlaps of one adapter with each of the others, after a blank line."""
    lines: list[Content] = []
    for overlap in overlaps:
        if name in (overlap.first, overlap.second):
            lines.append(_overlap_line(overlap, name))
            lines.append(Content.styled(printable_line(overlap.sentence), MUTED))
    if not lines:
        return []
    heading = Content("Overlap") + Content.styled(", the cosine of the deltas", MUTED)
    return [_BLANK, heading, *lines, Content.styled(WEIGHTS_ONLY, MUTED)]


def _overlap_line(overlap: Overlap, name: str) -> Content:
    other = overlap.second if overlap.first == name else overlap.first
    cosine = "?" if overlap.cosine is None else cosine_text(overlap.cosine)
    return Content.assemble(
        Content.styled(f"{cosine:>6} ", "bold"), Content(f"with {printable_line(other)}")
    )


def _pair(name: str, value: str, width: int) -> Content:
    """Return a fact in as many lines as it needs, the value always right of the name."""
    room = max(width - _LABEL_WIDTH, _LEAST_ROOM)
    text = ("\n" + " " * _LABEL_WIDTH).join(textwrap.wrap(value, room, break_on_hyphens=False))
    return Content.styled(f"{name:<{_LABEL_WIDTH}}", MUTED) + Content(text)
