"""One alpha for a file, and what of each module's scale goes into its B."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.adapters.conversion.placement.plan import PlannedPair
from engine.adapters.conversion.scales import scales_of
from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.errors import AdapterError


def module(path: str, rank: int, scale: float) -> LoraModule:
    a = StoredTensor(f"{path}.A", (rank, 8), "f32", lambda: np.zeros((rank, 8), np.float32))
    b = StoredTensor(f"{path}.B", (8, rank), "f32", lambda: np.zeros((8, rank), np.float32))
    return LoraModule(path, ModuleKind.LINEAR, a, b, scale)


def pair(*members: LoraModule, rank: int | None = None) -> PlannedPair:
    total = sum(m.rank for m in members) if rank is None else rank
    return PlannedPair(
        members[0].path, members, total, (total, 8), (8, total), lambda _: NotImplemented
    )


def applied(pairs: list[PlannedPair]) -> list[float]:
    """Return what each first member's delta is multiplied by, as llama.cpp computes it."""
    scales = scales_of(pairs)
    return [scales.alpha / p.rank * scales.factors(p)[0] for p in pairs]


def test_equal_scales_need_no_factor() -> None:
    pairs = [pair(module(str(i), 8, 16 / 8)) for i in range(3)]
    scales = scales_of(pairs)
    assert scales.alpha == 16.0
    assert [scales.factors(p) for p in pairs] == [(1.0,)] * 3
    assert not any(map(scales.is_folded, pairs))


def test_ranks_that_differ_are_no_reason_to_fold() -> None:
    pairs = [pair(module("a", 4, 16 / 4)), pair(module("b", 24, 16 / 24))]
    scales = scales_of(pairs)
    assert scales.alpha == 16.0
    assert not any(map(scales.is_folded, pairs))


def test_rslora_of_one_rank_is_one_alpha() -> None:
    pairs = [pair(module(str(i), 8, 16 / math.sqrt(8))) for i in range(2)]
    scales = scales_of(pairs)
    assert scales.alpha == pytest.approx(16 * math.sqrt(8), rel=2**-24)
    assert not any(map(scales.is_folded, pairs))


def test_the_commonest_alpha_is_kept_and_others_are_folded() -> None:
    pairs = [
        pair(module("odd", 8, 2.0)),
        pair(module("a", 8, 4.0)),
        pair(module("b", 16, 2.0)),
    ]
    scales = scales_of(pairs)
    assert scales.alpha == 32.0
    assert [scales.factors(p) for p in pairs] == [(0.5,), (1.0,), (1.0,)]
    assert applied(pairs) == [2.0, 4.0, 2.0]


def test_a_pair_of_several_modules_is_divided_by_the_rank_of_them_all() -> None:
    fused = pair(*(module(name, 8, 2.0) for name in "qkv"))
    pairs = [fused, *(pair(module(str(i), 8, 2.0)) for i in range(4))]
    scales = scales_of(pairs)
    assert scales.alpha == 16.0
    assert scales.factors(fused) == (3.0, 3.0, 3.0)
    assert applied(pairs) == [2.0] * 5


def test_members_may_have_scales_of_their_own() -> None:
    fused = pair(module("q", 8, 2.0), module("k", 8, 4.0))
    assert scales_of([fused]).factors(fused) == (1.0, 2.0)


def test_a_scale_of_zero_is_never_an_alpha_of_zero() -> None:
    off, on = pair(module("a", 8, 0.0)), pair(module("b", 8, -2.0))
    assert applied([off, on]) == [0.0, -2.0]
    assert scales_of([off]).alpha != 0.0
    assert applied([off]) == [0.0]


@pytest.mark.parametrize("scale", [math.nan, math.inf, 1e300])
def test_a_scale_that_is_no_float32_is_named(scale: float) -> None:
    with pytest.raises(AdapterError, match=r"'model\.x'.*lora_alpha"):
        scales_of([pair(module("model.x", 8, scale))])
