"""What is kept of a matrix is the best there is, by numpy's own decomposition of the whole."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.fusing import low_rank
from engine.adapters.fusing.low_rank import (
    squared_norm_of_product,
    truncated_matrix,
    truncated_product,
)

Floats = NDArray[np.float32]
N_OUT, N_IN, RANK = 48, 80, 12


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def best(matrix: NDArray[np.float64], rank: int) -> tuple[NDArray[np.float64], float]:
    """Return the best approximation and the share of the squared norm that it keeps."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank], float((s[:rank] ** 2).sum() / (s**2).sum())


@pytest.mark.parametrize("rank", [1, 5, 11, 12, 40])
def test_a_product_is_approximated_as_by_the_svd_of_the_whole_matrix(rank: int) -> None:
    b, a = random(N_OUT, RANK), random(RANK, N_IN, seed=1)
    expected, share = best(b.astype(float) @ a, rank)
    found = truncated_product(b, a, rank)
    assert found.rank == min(rank, RANK)
    np.testing.assert_allclose(found.b @ found.a, expected, rtol=0, atol=1e-5)
    assert found.energy.share == pytest.approx(share, abs=1e-12)
    assert found.energy.total == pytest.approx(squared_norm_of_product(b, a), rel=1e-12)


def test_ranks_beyond_the_dimensions_are_no_trouble() -> None:
    b, a = random(6, 40), random(40, 9, seed=1)
    found = truncated_product(b, a, 30)
    assert found.rank == 6
    np.testing.assert_allclose(found.b @ found.a, b.astype(float) @ a, rtol=0, atol=1e-4)
    assert found.energy.share == pytest.approx(1.0, abs=1e-12)


def test_a_rank_that_is_nothing_but_rounding_is_left_out() -> None:
    b, a = random(N_OUT, 3), random(3, N_IN, seed=1)
    found = truncated_product(np.hstack([b, 0.5 * b]), np.vstack([a, a]), 6)
    assert found.rank == 3


def test_what_cancels_out_keeps_all_of_nothing() -> None:
    b, a = random(N_OUT, 3), random(3, N_IN, seed=1)
    found = truncated_product(np.hstack([b, -b]), np.vstack([a, a]), 2)
    assert (found.rank, found.energy.share) == (1, 1.0)
    assert not (found.b @ found.a).any()


def test_both_factors_get_an_equal_part_of_each_singular_value() -> None:
    found = truncated_product(random(N_OUT, RANK) * 1e-6, random(RANK, N_IN, seed=1) * 1e3, 5)
    norms = np.linalg.norm(found.a, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found.b, axis=0), norms, rtol=1e-5)
    assert (np.diff(norms) < 0).all()


@pytest.mark.parametrize("shape", [(N_OUT, N_IN), (N_IN, N_OUT), (3, N_IN), (N_OUT, 1)])
def test_a_small_matrix_is_decomposed_exactly(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    expected, share = best(matrix.astype(float), 7)
    found = truncated_matrix(matrix, 7)
    np.testing.assert_allclose(found.b @ found.a, expected, rtol=0, atol=1e-5)
    assert found.energy.share == pytest.approx(share, abs=1e-7)


@pytest.mark.parametrize("shape", [(300, 500), (500, 300)])
def test_a_large_matrix_loses_next_to_nothing_against_the_best(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(low_rank, "EXACT_MAX", 100)
    low = random(shape[0], 8) @ random(8, shape[1], seed=1)
    matrix = low + 0.5 * random(*shape, seed=2)
    expected, share = best(matrix.astype(float), 8)
    found = truncated_matrix(matrix, 8)
    assert share - 1e-4 < found.energy.share <= share + 1e-7
    assert np.linalg.norm(found.b @ found.a - expected) < 0.01 * np.linalg.norm(expected)
    # the share is that of the result itself, not of what it was meant to be
    lost = float(((matrix.astype(float) - found.b.astype(float) @ found.a) ** 2).sum())
    assert 1.0 - lost / (matrix.astype(float) ** 2).sum() == pytest.approx(
        found.energy.share, abs=1e-6
    )


def test_the_randomised_way_gives_equal_results_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank, "EXACT_MAX", 100)
    matrix = random(300, 200)
    first, second = truncated_matrix(matrix, 4), truncated_matrix(matrix, 4)
    np.testing.assert_array_equal(first.a, second.a)
    np.testing.assert_array_equal(first.b, second.b)


@pytest.mark.parametrize("shape", [(2000, 3000), (3000, 2000)])
def test_little_more_memory_is_taken_than_the_matrix_has(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    tracemalloc.start()
    try:
        truncated_matrix(matrix, 8)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # chunks in float64 and a few dozen rows and columns: 16 MB and some, whatever the size
    assert peak_bytes < 40e6 < 2 * matrix.nbytes
