"""Factors multiply to the delta that llama.cpp adds, whatever the tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.factors import stacked_factors, targets_of
from engine.adapters.pairs import pairs_of
from engine.adapters.scaled_adapter import FusePart
from engine.gguf.header import read_header
from engine.gguf.weights import WeightFile
from tests.support import tiny_models


@pytest.mark.parametrize("target", ["attn_q", "ffn_down_exps", "token_embd"])
def test_two_adapters_add_up(tmp_path: Path, target: str) -> None:
    base = tiny_models.write_base(tmp_path / "base.gguf", architecture="mixtral")
    parts = []
    for seed, scale in ((1, 0.5), (2, -1.5)):
        path = tiny_models.write_adapter(
            tmp_path / f"{seed}.gguf", base, rank=2 + seed, seed=seed, targets=[target]
        )
        parts.append(FusePart(read_header(path), str(seed), scale))
    files = [WeightFile(part.header) for part in parts]
    name = targets_of(parts)[0]
    factors = stacked_factors(name, parts, files)
    assert factors is not None
    expected = 0.0
    for part, file in zip(parts, files, strict=True):
        pair = next(pair for pair in pairs_of(part.header) if pair.target == name)
        a, b = (file.values(half).astype(np.float64) for half in (pair.a, pair.b))
        delta = a @ b.T if target == "token_embd" else b @ a
        expected = expected + part.scale * 8.0 / pair.rank_b * delta
    shape = read_header(base).tensors[name].shape[::-1]
    found = np.stack([factors.rows(e, 0, shape[-2]) for e in range(factors.a.shape[0])])
    np.testing.assert_allclose(found.reshape(shape), expected, rtol=1e-5, atol=1e-6)
    assert factors.rank == 7
    for file in files:
        file.close()


def test_a_part_at_scale_zero_adds_nothing(tmp_path: Path) -> None:
    base = tiny_models.write_base(tmp_path / "base.gguf")
    path = tiny_models.write_adapter(tmp_path / "a.gguf", base)
    part = FusePart(read_header(path), "a", 0.0)
    with WeightFile(part.header) as file:
        assert stacked_factors(targets_of([part])[0], [part], [file]) is None
