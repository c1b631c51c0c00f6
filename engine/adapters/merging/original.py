"""Check that a full-precision model is the one that a quantised base was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Final

from engine.adapters.merging.blocks import inner_product
from engine.adapters.merging.plan import FLOATS, MergedTensor
from engine.errors import BaseError
from engine.gguf.header import GgufHeader
from engine.gguf.weights import WeightFile
from engine.llama.quants import dequantized
from modelfiles.wording import shown

_LEAST_COSINE: Final = 0.5
"""Least cosine of weights and their quantisation: 0.97 at 2 bits; about 0 for different models."""
_COMPARED_ROWS: Final = 16


def require_same_weights(
    plan: Sequence[MergedTensor], base: GgufHeader, files: Mapping[Path, WeightFile]
) -> None:
    """Raise `BaseError` unless the source tensors to merge are floats and match the base's.

    Compares the first rows of each with those of the base. Raises `GgufError` if a file cannot be
    read.
    """
    for tensor in plan:
        if tensor.is_copied:
            continue
        source = tensor.source
        if source.type not in FLOATS:
            raise BaseError(
                f"is quantised itself (its {shown(tensor.name)} is "
                f"{source.type.name}): name the model in f16, bf16 or f32.",
                source.path,
            )
        if _cosine(source.path, tensor, base, files) < _LEAST_COSINE:
            raise BaseError(
                f"has other weights than the base in {shown(tensor.name)}: name the model the "
                "base was quantised from.",
                source.path,
            )


def _cosine(
    path: Path, tensor: MergedTensor, base: GgufHeader, files: Mapping[Path, WeightFile]
) -> float:
    values = []
    for info in (tensor.source, base.tensors[tensor.name]):
        row_bytes = info.type.size_bytes(info.ne[:1])
        n_rows = min(_COMPARED_ROWS, info.size_bytes // row_bytes)
        data = files[info.path].read(info, 0, n_rows * row_bytes)
        values.append(dequantized(data, info.type, info.ne[0]))
    one, other = values
    norms = sqrt(inner_product(one, one) * inner_product(other, other))
    return inner_product(one, other) / norms if norms else 1.0
