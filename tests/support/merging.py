"""Helpers for tests of merging and fusing: stacks, wider bases, logits, bytes of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from engine.adapters.read import read_adapter
from engine.adapters.scaled_adapter import FusePart, part_of
from engine.gguf.ggml_type import GgmlType
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context, KvType
from engine.llama.model import Model
from engine.llama.quants import quantized
from tests.support import tiny_models
from tests.support.dense_delta import Doubles
from tests.support.gguf_raw import RawGguf, RawTensor

Logits = npt.NDArray[np.float32]
Stack = Sequence[tuple[Path, float]]
TEXT = "What does the scale of an adapter do?"

WIDE = {"N_EMBD": 256, "HEAD_SIZE": 64, "N_FF": 512}
"""Globals of `tiny_models` whose rows fill the 256-weight blocks of the K quantisations."""


def parts_of(stack: Stack) -> list[FusePart]:
    """Return the parts to merge for the adapters of a stack."""
    return [part_of(read_adapter(path), scale) for path, scale in stack]


def logits(base: Path, stack: Stack = (), prompt: str | Sequence[int] = TEXT) -> Logits:
    """Return the logits of every prefix of a text or of tokens, shape (n_tokens, n_vocab).

    Computes in f32 without flash attention, which rounds to f16 internally, so that only the
    stored types of adapters and base cause rounding.
    """
    with (
        Model(base, n_gpu_layers=0) as model,
        Context(
            model,
            n_ctx=128,
            n_batch=64,
            n_threads=1,
            kv_type=KvType.F32,
            uses_flash_attention=False,
        ) as context,
    ):
        context.set_adapters([(LoraAdapter(model, path), scale) for path, scale in stack])
        rows = []
        for token in model.tokenize(prompt) if isinstance(prompt, str) else prompt:
            context.decode([token])
            rows.append(context.logits())
        return np.stack(rows)


def distance(one: Logits, other: Logits) -> float:
    """Return the largest absolute difference of two arrays of logits."""
    return float(np.abs(one - other).max())


def bytes_of(path: Path) -> dict[str, tuple[int, bytes]]:
    """Return type and data of every tensor of a GGUF file."""
    return {name: (t.type, t.data) for name, t in RawGguf.read(path).tensors.items()}


def write_quantised(base: Path, out: Path, type_: GgmlType) -> Path:
    """Write an f32 base with its matrices quantised to another type."""
    raw = RawGguf.read(base)
    for tensor in gguf.GGUFReader(base).tensors:
        if len(tensor.shape) > 1:
            rows = np.array(tensor.data, dtype=np.float32).reshape(-1, int(tensor.shape[0]))
            shape = tuple(int(n) for n in tensor.shape)
            data = quantized(rows, type_).tobytes()
            raw.tensors[tensor.name] = RawTensor(shape, int(type_), data)
    return raw.write(out)


def write_f32(base: Path, out: Path, deltas: dict[str, Doubles] | None = None) -> Path:
    """Write a base's values in f32, with `deltas` added: an independent merge."""
    raw = RawGguf.read(base)
    for tensor in gguf.GGUFReader(base).tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        if deltas is not None:
            values = values + deltas.get(tensor.name, 0.0)
        raw.replace_array(tensor.name, values.astype(np.float32))
    return raw.write(out)


def write_untied(base: Path, out: Path) -> Path:
    """Write a tied base with a separate output matrix that equals the embeddings."""
    raw = RawGguf.read(base)
    raw.tensors["output.weight"] = raw.tensors["token_embd.weight"]
    return raw.write(out)


def write_stack(base: Path, folder: Path, *, scale_of_weights: float = 0.3) -> Stack:
    """Write two adapters of different rank that change different tensors."""
    targets = (None, tiny_models.ATTENTION)
    return [
        (
            tiny_models.write_adapter(
                folder / f"lora-{rank}.gguf",
                base,
                rank=rank,
                seed=rank,
                targets=names,
                scale_of_weights=scale_of_weights,
            ),
            scale,
        )
        for rank, scale, names in zip((4, 8), (0.5, -0.7), targets, strict=True)
    ]
