"""The pages of `tui inspect`: an adapter's facts, rules and heat map, and how adapters overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui.heat_map import heat_map
from tui.ink import Ink, map_lines
from tui.output import wrapped
from tui.sanitize import printable_line
from tui.units import count_text, size_text

if TYPE_CHECKING:
    from engine.adapters.inspection.inspect import Inspection, Target, Verdict
    from engine.adapters.inspection.norm_grid import NormGrid
    from engine.adapters.inspection.overlap import Overlap

INDENT = "    "
WEIGHTS_ONLY = (
    "1 is one direction, 0 none in common, -1 opposite directions, at scales of one sign. This "
    "compares weights: two manners at right angles may still compete in the answers."
)
_MAX_SENTENCES = 10
_SHOWN_DIGITS = 12
"""Of a digest, as in `tui list`; the document has all 64."""
_LEAST_LABEL = 12
_MARKS = {True: ("✓", "✗"), False: ("ok", "NO")}


def identity_rows(inspection: Inspection, scale: float | None = None) -> list[tuple[str, str]]:
    """Return what is to be said of an adapter itself, as names and values; nothing twice."""
    said = inspection.provenance
    tokens = " ".join(map(str, said.invocation_tokens))
    n_layers = len({t.place.layer for t in inspection.targets if t.place.layer is not None})
    rows = [
        ("file", str(inspection.path)),
        ("sha256", inspection.sha256[:_SHOWN_DIGITS]),
        ("title", said.title if said.title != inspection.name else ""),
        ("description", said.description),
        ("format", "" if inspection.format == "gguf" else inspection.format.upper()),
        ("architecture", inspection.architecture),
        *(("trained on", _base_text(b.name, b.organization, b.url)) for b in said.bases),
        ("written by", said.converter),
        *said.facts,
        ("tags", ", ".join(said.tags)),
        ("rank", range_text([target.rank for target in inspection.targets])),
        ("alpha", alpha_text(inspection.targets)),
        ("scaling", range_text([target.scale for target in inspection.targets])),
        (
            "changes",
            f"{len(inspection.targets)} tensors in {n_layers} layers, "
            f"{count_text(inspection.n_parameters)} parameters",
        ),
        (
            "size",
            f"{size_text(inspection.size_bytes)}, in memory {size_text(inspection.memory_bytes)}",
        ),
        ("used at", "" if scale is None else f"scale {scale:g}"),
        ("acts from", f"tokens {tokens} on" if tokens else ""),
    ]
    return [(printable_line(name), printable_line(value)) for name, value in rows if value]


def identity_lines(inspection: Inspection, scale: float | None, width: int) -> list[str]:
    """Return `identity_rows` as lines of at most `width` cells, but for paths."""
    rows = identity_rows(inspection, scale)
    label_width = max(len(name) for name, _ in rows) + 2
    lines = []
    for name, value in rows:
        first, *others = wrapped(value, width - label_width)
        lines.append(f"{name:<{label_width}}{first}")
        lines += [" " * label_width + other for other in others]
    return lines


def module_rows(inspection: Inspection) -> list[tuple[str, ...]]:
    """Return a row for each kind of module, under headings."""
    rows: list[tuple[str, ...]] = [
        ("module", "tensors", "rank", "alpha", "scaling", "type", "parameters", "size")
    ]
    members: dict[str, list[Target]] = {module: [] for module in inspection.modules}
    for target in inspection.targets:
        members[target.place.module].append(target)
    for module, targets in members.items():
        rows.append(
            (
                module,
                str(len(targets)),
                range_text([target.rank for target in targets]),
                alpha_text(targets),
                range_text([target.scale for target in targets]),
                ", ".join(dict.fromkeys(map(type_text, targets))),
                count_text(sum(target.n_parameters for target in targets)),
                size_text(sum(target.size_bytes for target in targets)),
            )
        )
    return rows


def module_lines(inspection: Inspection) -> list[str]:
    """Return `module_rows` as a table: names to the left, numbers to the right."""
    rows = [[printable_line(cell) for cell in row] for row in module_rows(inspection)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if index == 0 else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def type_text(target: Target) -> str:
    """Return the types of both halves, once where they are equal: `F16`, `F16+F32`."""
    a_type, b_type = target.a_type, target.b_type
    return a_type if a_type == b_type else f"{a_type}+{b_type}"


def alpha_text(targets: Sequence[Target]) -> str:
    """Return alpha, or the smallest and the largest; `none` where nothing is divided by a rank."""
    return range_text([target.alpha for target in targets if target.alpha])


def range_text(numbers: Sequence[float]) -> str:
    """Return one number, or the smallest and the largest: `8`, `4-16`; `none` of no number."""
    if not numbers:
        return "none"
    low, high = min(numbers), max(numbers)
    return f"{low:.4g}" if low == high else f"{low:.4g}-{high:.4g}"


def rule_lines(
    verdicts: Sequence[Verdict], width: int, *, has_ticks: bool, is_brief: bool
) -> list[str]:
    """Return a line for each rule, with a sentence below each that is broken.

    With `is_brief` the rules that hold are counted instead.
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
    """Return the page of one adapter in lines of at most `width` cells, but for paths."""
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
    """Return the lower half of the matrix, and a blank line; nothing where it is too wide.

    Columns are numbered, as names would not fit.
    """
    from engine.adapters.inspection.overlap import cosine_text

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


def _base_text(name: str, organization: str, url: str) -> str:
    whole = f"{organization}/{name}" if organization and name else name
    return f"{whole} ({url})" if url and whole else whole or url
