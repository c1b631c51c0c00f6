"""Compute an adapter's dense weight deltas in float64, from its file alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def tensors_of(path: Path) -> dict[str, Doubles]:
    """Return every tensor of a GGUF file, dequantised."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        for tensor in gguf.GGUFReader(path).tensors
    }


def deltas_of(stack: Sequence[tuple[Path, float]]) -> dict[str, Doubles]:
    """Return sum(scale * alpha / rank * B A) per base tensor, shape (…, n_out, n_in).

    The delta of the embeddings has shape (n_vocab, n_embd), since its rows are looked up.
    """
    sums: dict[str, Doubles] = {}
    for path, scale in stack:
        tensors = tensors_of(path)
        field = gguf.GGUFReader(path).fields.get("adapter.lora.alpha")
        alpha = float(field.contents()) if field else 0.0
        for name, a in tensors.items():
            if not name.endswith(".lora_a"):
                continue
            target = name.removesuffix(".lora_a")
            b = tensors[target + ".lora_b"]
            product = a @ b.T if target == "token_embd.weight" else b @ a
            factor = scale * alpha / b.shape[-1] if alpha else scale
            sums[target] = sums.get(target, np.zeros(product.shape)) + factor * product
    return sums
