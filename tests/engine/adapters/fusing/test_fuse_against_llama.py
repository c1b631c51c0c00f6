"""In llama.cpp a fused adapter gives the logits of the stack it was fused from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.checking.check import require_fit
from engine.adapters.fusing.fuse import fuse
from engine.adapters.fusing.plan import BType
from engine.gguf.ggml_type import GgmlType
from tests.support import merging
from tests.support.dense_delta import tensors_of
from tests.support.gguf_raw import RawGguf
from tests.support.merging import Logits, Stack, distance, parts_of
from tests.support.tiny_models import (
    ATTENTION,
    LINEAR,
    Architecture,
    Dtype,
    write_adapter,
    write_base,
)

TEXT = "What does the scale of an adapter do? It multiplies the delta."


def logits(base: Path, stack: Stack) -> Logits:
    """Return the logits of every prefix of TEXT under a stack: shape (n_tokens, n_vocab)."""
    return merging.logits(base, stack, TEXT)


def fused(base: Path, stack: Stack, b_type: BType = GgmlType.F32) -> Path:
    parts = parts_of(stack)
    out = fuse(parts, stack[0][0].with_name("fused.gguf"), b_type=b_type).path
    require_fit(out, base)
    return out


def widened(path: Path) -> Path:
    """Write an adapter's very values in f32, beside it."""
    raw = RawGguf.read(path)
    for name, values in tensors_of(path).items():
        raw.replace_array(name, values.astype(np.float32))
    return raw.write(path.with_suffix(".f32.gguf"))


def difference(base: Path, stack: Stack) -> float:
    """Return the distance between layered and fused, B in f32.

    The stack must change the logits: otherwise equality says nothing.
    """
    layered = logits(base, stack)
    assert distance(layered, logits(base, [])) > 1.0
    return distance(layered, logits(base, [(fused(base, stack), 1.0)]))


def divergence(p: Logits, q: Logits) -> float:
    """Return the mean KL divergence over the prefixes, in nats."""
    p, q = p.astype(np.float64), q.astype(np.float64)
    log_p = p - np.logaddexp.reduce(p, axis=1, keepdims=True)
    log_q = q - np.logaddexp.reduce(q, axis=1, keepdims=True)
    return float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean())


def stack_on(
    base: Path,
    folder: Path,
    *,
    dtype: Dtype = "f32",
    targets: Sequence[Sequence[str] | None] = (None, None, None),
) -> Stack:
    """Write three adapters of rank 4, 8 and 32 that change different tensors."""
    ranks, scales = (4, 8, 32), (0.5, -0.7, 0.25)
    return [
        (
            write_adapter(
                folder / f"{rank}.gguf", base, rank=rank, seed=rank, targets=names, dtype=dtype
            ),
            scale,
        )
        for rank, scale, names in zip(ranks, scales, targets, strict=True)
    ]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf")


def test_different_ranks_and_negative_scales(base: Path, tmp_path: Path) -> None:
    assert difference(base, stack_on(base, tmp_path)) < 1e-5


def test_disjoint_tensors(base: Path, tmp_path: Path) -> None:
    targets = (ATTENTION[:2], ATTENTION[2:], LINEAR[4:])
    assert difference(base, stack_on(base, tmp_path, targets=targets)) < 1e-5


def test_experts(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", architecture="mixtral")
    assert difference(base, stack_on(base, tmp_path)) < 1e-5


def test_embeddings_of_an_untied_base(base: Path, tmp_path: Path) -> None:
    targets = (["token_embd", "attn_q"], ["token_embd"], ["ffn_up"])
    assert difference(base, stack_on(base, tmp_path, targets=targets)) < 1e-5


def test_eight_adapters(base: Path, tmp_path: Path) -> None:
    stack = [
        (write_adapter(tmp_path / f"{n}.gguf", base, rank=4 * n, seed=n), 0.3) for n in range(1, 9)
    ]
    assert difference(base, stack) < 2e-5


@pytest.mark.parametrize("b_type", [GgmlType.F16, GgmlType.F32])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0"])
@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_narrower_adapters_lose_no_more_than_layered(
    tmp_path: Path, kind: Architecture, dtype: Dtype, b_type: BType
) -> None:
    """llama.cpp rounds activations to the type of the weights, so both forms are a little off."""
    base = write_base(tmp_path / "base.gguf", architecture=kind)
    stack = stack_on(base, tmp_path, dtype=dtype)
    exact = logits(base, [(widened(path), scale) for path, scale in stack])
    layered = logits(base, stack)
    found = logits(base, [(fused(base, stack, b_type), 1.0)])
    assert distance(layered, exact) > 1e-3
    assert distance(found, exact) < 2 * distance(layered, exact)
    assert divergence(layered, found) < 1e-3


@pytest.mark.parametrize("b_type", [GgmlType.F16, GgmlType.F32])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_on_a_quantised_base_the_distributions_agree(
    tmp_path: Path, dtype: Dtype, b_type: BType
) -> None:
    base = write_base(tmp_path / "base.gguf", dtype="q8_0")
    stack = stack_on(base, tmp_path, dtype=dtype)
    layered = logits(base, stack)
    assert divergence(layered, logits(base, [])) > 0.1
    found = logits(base, [(fused(base, stack, b_type), 1.0)])
    assert divergence(layered, found) < 1e-3
