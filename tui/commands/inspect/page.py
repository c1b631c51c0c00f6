"""Pages of `tui inspect`: an adapter's facts, rules and heat map, and how adapters overlap."""

from __future__ import annotations

from collections.abc import Sequence

from engine.adapters.inspection.inspect import Inspection, Verdict
from engine.adapters.inspection.norm_grid import NormGrid
from engine.adapters.inspection.overlap import Overlap, cosine_text
from tui.terminal.shading import Ink, map_lines
from tui.text.heat_map import heat_map
from tui.text.inspection_rows import WEIGHTS_ONLY, identity_rows, module_lines
from tui.text.sanitize import printable_line
from tui.text.tables import wrapped

INDENT = "    "
_MAX_SENTENCES = 10
_LEAST_LABEL = 12
_MARKS = {True: ("✓", "✗"), False: ("ok", "NO")}


def identity_lines(inspection: Inspection, scale: float | None, width: int) -> list[str]:
    """Return `identity_rows` as lines of at most `width` cells, except for paths."""
    rows = identity_rows(inspection, scale)
    label_width = max(len(name) for name, _ in rows) + 2
    lines = []
    for name, value in rows:
        first, *others = wrapped(value, width - label_width)
        lines.append(f"{name:<{label_width}}{first}")
        lines += [" " * label_width + other for other in others]
    return lines


def rule_lines(
    verdicts: Sequence[Verdict], width: int, *, has_ticks: bool, is_brief: bool
) -> list[str]:
    """Return a line for each rule, with a sentence below each that is broken.

    With `is_brief` the rules that hold are only counted.
    """
    yes, no = _MARKS[has_ticks]
    kept = [verdict for verdict in verdicts if verdict.is_kept]
    lines = []
    for verdict in verdicts:
        if not verdict.is_kept:
            lines.append(f"{no} {verdict.rule}")
            lines += wrapped(verdict.fault, width, "   ")
        elif not is_brief:
            lines.append(f"{yes} {verdict.rule}")
    if is_brief:
        lines.append(f"{yes} {len(kept)} of {len(verdicts)} rules hold")
    return lines


def inspection_lines(
    inspection: Inspection,
    grid: NormGrid | None,
    *,
    base_name: str,
    scale: float | None,
    width: int,
    ink: Ink,
    has_ticks: bool,
    is_brief: bool,
) -> list[str]:
    """Return the page of one adapter in lines of at most `width` cells, except for paths."""
    room = width - len(INDENT)
    lines = _section(printable_line(inspection.name), identity_lines(inspection, scale, room))
    lines += _section("Modules", module_lines(inspection))
    title = f"Rules on {printable_line(base_name)}" if base_name else "Rules, without a base"
    if inspection.verdicts:
        rules = rule_lines(inspection.verdicts, room, has_ticks=has_ticks, is_brief=is_brief)
        lines += _section(title, rules)
    for notice in inspection.notices:
        lines += [*(INDENT + line for line in wrapped(f"Note: {notice}", room)), ""]
    if grid is not None and grid.values:
        lines += _section("Norms", map_lines(heat_map(grid, room), ink))
    return lines


def overlap_lines(overlaps: Sequence[Overlap], names: Sequence[str], width: int) -> list[str]:
    """Return the cosines as a matrix, and sentences for the pairs that overlap most."""
    room = width - len(INDENT)
    lines = matrix_lines(overlaps, names, room)
    by_size = sorted(overlaps, key=lambda overlap: -abs(overlap.cosine or 0.0))
    for overlap in by_size[:_MAX_SENTENCES]:
        lines += wrapped(overlap.sentence, room)
    if len(by_size) > _MAX_SENTENCES:
        least = abs(by_size[_MAX_SENTENCES].cosine or 0.0)
        n_others = len(by_size) - _MAX_SENTENCES
        lines += wrapped(f"The other {n_others} pairs overlap by at most {least:.2f}.", room)
    return _section("Overlap (cosine of the deltas)", [*lines, "", *wrapped(WEIGHTS_ONLY, room)])


def matrix_lines(overlaps: Sequence[Overlap], names: Sequence[str], width: int) -> list[str]:
    """Return the lower half of the matrix and a blank line; no lines if it is too wide.

    Columns are numbered, as names would not fit.
    """
    if _LEAST_LABEL + 6 * (len(names) - 1) > width:
        return []
    number_width = len(str(len(names)))
    shown = [f"{i:>{number_width}} {printable_line(name)}" for i, name in enumerate(names, start=1)]
    label_width = min(max(map(len, shown)), width - 6 * (len(names) - 1))
    cosines = iter(overlaps)
    table: dict[tuple[int, int], str] = {}
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            cosine = next(cosines).cosine
            table[i, j] = "?" if cosine is None else cosine_text(cosine)
    lines = [" " * label_width + "".join(f"{j:>6}" for j in range(1, len(names)))]
    for i, label in enumerate(shown):
        row = "".join(f"{table[j, i]:>6}" for j in range(i))
        lines.append(f"{label[:label_width]:<{label_width}}{row}".rstrip())
    return [*lines, ""]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"  {title}", *(f"{INDENT}{line}".rstrip() for line in lines), ""]
