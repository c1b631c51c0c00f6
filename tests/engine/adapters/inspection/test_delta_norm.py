"""Norms and products of deltas from their factors are those of the deltas formed in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from engine.adapters.factors import Factors
from engine.adapters.inspection.delta_norm import delta_norm, inner_product

rng = np.random.default_rng(7)


def factors(n_experts: int, n_out: int, rank: int, n_in: int, size: float = 1.0) -> Factors:
    """Return random factors."""
    a = rng.standard_normal((n_experts, rank, n_in)).astype(np.float32)
    b = (rng.standard_normal((n_experts, n_out, rank)) * size).astype(np.float32)
    return Factors("blk.0.attn_q.weight", a, b)


def dense(one: Factors) -> np.ndarray:
    """Return the delta itself, float64 (n_experts, n_out, n_in)."""
    return one.b.astype(np.float64) @ one.a.astype(np.float64)


@pytest.mark.parametrize(
    "shape", [(1, 40, 4, 24), (1, 8, 16, 6), (3, 20, 5, 30), (1, 1, 1, 1), (1, 3, 9, 50)]
)
@pytest.mark.parametrize("size", [1.0, 1e-12, 1e12])
def test_norms_are_those_of_the_delta(shape: tuple[int, int, int, int], size: float) -> None:
    one = factors(*shape, size)
    found, delta = delta_norm(one), dense(one)
    assert found.frobenius == pytest.approx(np.linalg.norm(delta), rel=1e-9)
    largest = max(np.linalg.svd(expert, compute_uv=False)[0] for expert in delta)
    assert found.spectral == pytest.approx(largest, rel=1e-7)


def test_columns_that_cancel_leave_next_to_nothing() -> None:
    one = factors(1, 32, 4, 16)
    twice = Factors("x", np.concatenate([one.a, one.a], 1), np.concatenate([one.b, -one.b], 2))
    assert delta_norm(twice).frobenius <= 1e-7 * delta_norm(one).frobenius


def test_an_untrained_delta_has_the_norm_zero() -> None:
    one = factors(2, 16, 4, 8, 0.0)
    assert (delta_norm(one).frobenius, delta_norm(one).spectral) == (0.0, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_norm_of_what_is_not_finite_is_not_a_number(value: float) -> None:
    one = factors(1, 8, 2, 8)
    one.b[0, 3, 1] = value
    assert np.isnan(delta_norm(one).frobenius)


def test_a_rank_beyond_the_deltas_size_takes_no_more_memory_than_the_factors() -> None:
    one = factors(1, 2, 300_000, 1)  # the square of the rank would be 720 GB
    delta = dense(one)
    assert delta_norm(one).frobenius == pytest.approx(np.linalg.norm(delta), rel=1e-9)
    assert inner_product(one, one) == pytest.approx(float(np.sum(delta**2)), rel=1e-9)


def test_a_huge_rank_has_no_spectral_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.adapters.inspection.delta_norm.MAX_SOLVED", 4)
    one = factors(2, 12, 5, 16)
    assert np.isnan(delta_norm(one).spectral)
    assert delta_norm(one).frobenius == pytest.approx(np.linalg.norm(dense(one)), rel=1e-9)
    assert np.isfinite(delta_norm(factors(2, 12, 4, 16)).spectral)


@pytest.mark.parametrize("n_experts", [1, 3])
def test_products_of_different_ranks_are_those_of_the_deltas(n_experts: int) -> None:
    first, second = factors(n_experts, 24, 3, 40), factors(n_experts, 24, 7, 40)
    expected = float(np.sum(dense(first) * dense(second)))
    assert inner_product(first, second) == pytest.approx(expected, rel=1e-9)
    assert inner_product(first, first) == pytest.approx(delta_norm(first).frobenius ** 2)


def test_deltas_of_different_shapes_have_no_product() -> None:
    with pytest.raises(ValueError, match="have no product"):
        inner_product(factors(1, 8, 2, 16), factors(1, 16, 2, 8))
