"""Report of `tui merge` on a finished merge: lines of text, or one JSON document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.adapters.merging.merge import Merged, TensorMerge
from engine.adapters.merging.record import share_retained
from engine.adapters.scaled_adapter import FusePart
from engine.stack import label_of
from modelfiles.model import Model
from tui.text.tables import table_lines
from tui.text.units import size_text

_HEADINGS = ("CHANGED", "TENSORS", "FROM", "TO", "KEPT", "LEAST")


def merge_lines(
    model: Model, names: Sequence[str], parts: Sequence[FusePart], merged: Merged, written: str
) -> list[str]:
    """Return the report as lines: what was written, then a table with a row per kind of tensor.

    A kind is the same tensor in all layers: `blk.*.attn_q.weight`. `written` is the file as the
    user typed it.
    """

    kinds: dict[tuple[str, str, str], list[TensorMerge]] = {}
    for tensor in merged.tensors:
        kind = re.sub(r"^blk\.\d+\.", "blk.*.", tensor.name)
        key = kind, tensor.from_type.name.lower(), tensor.to_type.name.lower()
        kinds.setdefault(key, []).append(tensor)
    rows = [_row(*key, tensors) for key, tensors in kinds.items()]
    stack = label_of(zip(names, (part.scale for part in parts), strict=True))
    counts = [f"{len(merged.tensors)} changed", f"{merged.n_copied} copied byte for byte"]
    if merged.n_requantised:
        counts.append(f"{merged.n_requantised} only quantised")
    facts = [("tensors", ", ".join(counts))]
    if merged.is_untied:
        facts.append(("output", "has weights of its own now"))
    facts += [("size", size_text(merged.size_bytes)), ("kept", _kept_text(merged))]
    return [
        f"merged {model.name} with {stack} into {written}",
        *(f"  {line}" for line in table_lines(facts)),
        "",
        *table_lines([_HEADINGS, *rows]),
    ]


def merge_document(
    model: Model, names: Sequence[str], parts: Sequence[FusePart], merged: Merged
) -> dict[str, Any]:
    """Return the report as a JSON object."""
    return {
        "path": str(merged.path),
        "size_bytes": merged.size_bytes,
        "base": str(model.base),
        "stack": [
            {"name": name, "sha256": part.sha256, "scale": part.scale}
            for name, part in zip(names, parts, strict=True)
        ],
        "retained": merged.retained,
        "n_copied": merged.n_copied,
        "n_requantised": merged.n_requantised,
        "is_untied": merged.is_untied,
        "tensors": [
            {
                "name": tensor.name,
                "from": tensor.from_type.name.lower(),
                "to": tensor.to_type.name.lower(),
                "retained": tensor.retained,
            }
            for tensor in merged.tensors
        ],
        "notices": list(merged.notices),
    }


def share_text(share: float) -> str:
    """Return a share as a percentage with one decimal, `99.9 %`; only all of it is `100 %`.

    Quantisation noise can by chance make it a little more than all.
    """
    return "100 %" if 0.9995 <= share < 1.0005 else f"{share * 100:.1f} %"


def _row(kind: str, from_: str, to: str, tensors: Sequence[TensorMerge]) -> Sequence[str]:
    least = min(tensor.retained for tensor in tensors)
    total = share_text(share_retained(tensors))
    return (kind, str(len(tensors)), from_, to, total, share_text(least))


def _kept_text(merged: Merged) -> str:
    """Return the share kept in all, and in the tensor that loses most, worded as by `tui fuse`."""
    text = f"{share_text(merged.retained)} of what the stack changes"
    worst = min(merged.tensors, key=lambda tensor: tensor.retained, default=None)
    if worst is None or (least := share_text(worst.retained)) == "100 %":
        return text
    return f"{text}; least {least} in {worst.name}"
