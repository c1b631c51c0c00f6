"""Rows of an inspection that the page of a shell and the screen of the chat share."""

from __future__ import annotations

from collections.abc import Sequence

from engine.adapters.inspection.inspect import Inspection, Target
from tui.text.sanitize import printable_line
from tui.text.units import count_text, size_text

WEIGHTS_ONLY = (
    "1 is one direction, 0 none in common, -1 opposite directions, at scales of one sign. This "
    "compares weights: two manners at right angles may still compete in the answers."
)


_SHOWN_DIGITS = 12
"""Digits shown of a digest, as in `tui list`; the JSON document has all 64."""


def identity_rows(inspection: Inspection, scale: float | None = None) -> list[tuple[str, str]]:
    """Return the facts about an adapter itself, as names and values, each once."""
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


def module_rows(inspection: Inspection) -> list[tuple[str, ...]]:
    """Return a row for each kind of module, below a row of headings."""
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
    """Return the types of both halves, or one if they are equal: `F16`, `F16+F32`."""
    a_type, b_type = target.a_type, target.b_type
    return a_type if a_type == b_type else f"{a_type}+{b_type}"


def alpha_text(targets: Sequence[Target]) -> str:
    """Return alpha, or its smallest and largest value; `none` if no tensor has one."""
    return range_text([target.alpha for target in targets if target.alpha])


def range_text(numbers: Sequence[float]) -> str:
    """Return one number, or the smallest and the largest: `8`, `4-16`; `none` for no numbers."""
    if not numbers:
        return "none"
    low, high = min(numbers), max(numbers)
    return f"{low:.4g}" if low == high else f"{low:.4g}-{high:.4g}"


def _base_text(name: str, organization: str, url: str) -> str:
    whole = f"{organization}/{name}" if organization and name else name
    return f"{whole} ({url})" if url and whole else whole or url
