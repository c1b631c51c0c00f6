"""The JSON document of `tui inspect --json`, with everything that was found out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.adapters.inspection.inspect import Inspection, Target
from engine.adapters.inspection.norm_grid import NormGrid
from engine.adapters.inspection.overlap import Overlap
from engine.gguf.header import GgufHeader
from tui.text.sanitize import printable


def inspection_document(
    inspection: Inspection, grid: NormGrid | None, scale: float | None
) -> dict[str, Any]:
    """Return everything about one adapter; norms are at scale 1, unknown values are null."""
    said = inspection.provenance
    return {
        "name": inspection.name,
        "path": printable(str(inspection.path)),
        "format": inspection.format,
        "sha256": inspection.sha256,
        "architecture": inspection.architecture or None,
        "title": said.title,
        "description": said.description,
        "base_models": [
            {"name": b.name, "organization": b.organization, "url": b.url} for b in said.bases
        ],
        "converter": said.converter,
        "facts": dict(said.facts),
        "tags": list(said.tags),
        "invocation_tokens": list(said.invocation_tokens),
        "model_scale": scale,
        "parameters": inspection.n_parameters,
        "size_bytes": inspection.size_bytes,
        "memory_bytes": inspection.memory_bytes,
        "fits": inspection.fits,
        "rules": [
            {
                "rule": str(verdict.rule),
                "is_kept": verdict.is_kept,
                "fault": printable(verdict.fault) or None,
            }
            for verdict in inspection.verdicts
        ],
        "notices": [printable(notice) for notice in inspection.notices],
        "norm": inspection.total_norm if inspection.deltas else None,
        "relative_norm": grid.total if grid is not None and grid.is_relative else None,
        "targets": [_target(inspection, target) for target in inspection.targets],
    }


def overlap_document(overlap: Overlap) -> dict[str, Any]:
    """Return how two adapters overlap; a cosine is null if one of them is zero."""
    return {
        "first": overlap.first,
        "second": overlap.second,
        "cosine": overlap.cosine,
        "tensors_first": overlap.n_first,
        "tensors_second": overlap.n_second,
        "tensors_common": len(overlap.common),
        "modules": overlap.by_module(),
        "layers": {str(layer): cosine for layer, cosine in overlap.by_layer().items()},
        "tensors": {target: products.cosine for target, products in overlap.common.items()},
        "sentence": overlap.sentence,
    }


def whole_document(
    base: GgufHeader | None,
    adapters: Sequence[dict[str, Any]],
    overlaps: Sequence[Overlap],
) -> dict[str, Any]:
    """Return the single document that is printed."""
    return {
        "base": None
        if base is None
        else {
            "path": printable(str(base.path)),
            "name": base.text("general.name"),
            "architecture": base.architecture,
            "size_bytes": base.file_size_bytes,
        },
        "adapters": list(adapters),
        "overlaps": [overlap_document(overlap) for overlap in overlaps],
    }


def _target(inspection: Inspection, target: Target) -> dict[str, Any]:
    delta = inspection.deltas.get(target.name)
    return {
        "tensor": target.name,
        "layer": target.place.layer,
        "module": target.place.module,
        "rank": target.rank,
        "alpha": target.alpha,
        "scale": target.scale,
        "experts": target.n_experts,
        "parameters": target.n_parameters,
        "type_a": target.a_type,
        "type_b": target.b_type,
        "size_bytes": target.size_bytes,
        "norm": None if delta is None else delta.frobenius,
        "spectral_norm": None if delta is None else delta.spectral,
        "base_norm": inspection.base_norms.get(target.name),
        "relative_norm": inspection.relative(target.name),
    }
