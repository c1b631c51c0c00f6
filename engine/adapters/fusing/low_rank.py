"""Compute the best low-rank approximation of a product of factors or of a dense matrix.

No matrix of rank R is closer in the Frobenius norm than the first R terms of the singular value
decomposition (Eckart and Young 1936). A LoRA delta does not have to be formed: with B = Q_b R_b
and A^T = Q_a R_a, the singular values of B A are those of the small matrix R_b R_a^T.

Large dense matrices use a randomised range finder with two power iterations (Halko, Martinsson
and Tropp 2011, algorithms 4.4 and 5.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.adapters.fusing.energy import Energy

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

EXACT_MAX: Final = 256
"""Dense matrices with a shorter side of at most this are decomposed exactly."""
N_POWER_ITERATIONS: Final = 2
N_OVERSAMPLES: Final = 16
_CHUNK_VALUES: Final = 1 << 21
"""Values converted to float64 at a time: 16 MB."""
_SEED: Final = 0
_ROUNDING: Final = 1e-14
"""Squared singular values below this share of the largest are rounding errors."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """A low-rank matrix `b @ a`, each singular value split evenly between the two factors.

    The even split keeps both factors in F16's range: with the singular values in one factor, a
    delta of a thousandth of the weights' size would be close to F16's smallest numbers.
    """

    a: Floats
    """float32 (rank, n_in)."""
    b: Floats
    """float32 (n_out, rank)."""
    energy: Energy

    @property
    def rank(self) -> int:
        """Number of rows of `a`, at least 1."""
        n_rows: int = self.a.shape[0]
        return n_rows


def truncated_product(
    b: npt.NDArray[np.floating[Any]], a: npt.NDArray[np.floating[Any]], rank: int
) -> LowRank:
    """Return the best approximation of `b @ a` of at most `rank`, computed in float64.

    Shapes are (n_out, r) and (r, n_in), all values finite. Drops singular values that are rounding
    errors, so the result may have a lower rank.
    """
    b64, a64 = b.astype(np.float64), a.astype(np.float64)
    r_b, r_a = _triangle(b64), _triangle(a64.T)
    u, s, vt = np.linalg.svd(r_b @ r_a.T, full_matrices=False)
    rounding = np.finfo(np.float64).eps * np.linalg.norm(r_b) * np.linalg.norm(r_a)
    s[s <= rounding] = 0.0
    n_kept = _n_kept(s, rank)
    # Q_b U S = B R_a^T V and S V^T Q_a^T = U^T R_b A, so neither Q is needed: half the time.
    roots = np.sqrt(s[:n_kept])
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0.0)
    return LowRank(
        (inverse[:, None] * (u[:, :n_kept].T @ r_b) @ a64).astype(np.float32),
        (b64 @ (r_a.T @ vt[:n_kept].T * inverse)).astype(np.float32),
        Energy(float(s[:n_kept] @ s[:n_kept]), float(s @ s)),
    )


def truncated_matrix(delta: Floats, rank: int) -> LowRank:
    """Return the best approximation of a dense matrix of at most `rank`, or one close to it.

    `delta` is float32 (n_out, n_in), all finite. The result is optimal if the shorter side is at
    most `EXACT_MAX`, or not much longer than the rank. The energy kept is measured on the result,
    not estimated. Equal arguments give equal results.
    """
    n_short = min(delta.shape)
    n_basis = min(rank + max(N_OVERSAMPLES, rank // 2), n_short)
    is_exact = n_short <= EXACT_MAX or 2 * n_basis >= n_short
    if delta.shape[0] > delta.shape[1]:
        turned = _truncated(delta.T, rank, n_basis, is_exact)
        return LowRank(turned.b.T.copy(), turned.a.T.copy(), turned.energy)
    return _truncated(delta, rank, n_basis, is_exact)


def squared_norm(delta: npt.NDArray[np.floating[Any]]) -> float:
    """Return the squared Frobenius norm, summed in float64."""
    total = 0.0
    for part in _columns(delta):
        flat = part.ravel(order="K")  # in memory order, without a copy
        total += float(flat @ flat)
    return total


def squared_norm_of_product(b: Floats, a: Floats) -> float:
    """Return the squared Frobenius norm of `b @ a` without forming it: tr(B^T B A A^T)."""
    b64, a64 = b.astype(np.float64), a.astype(np.float64)
    return max(float(np.vdot(b64.T @ b64, a64 @ a64.T)), 0.0)


def _truncated(delta: Floats, rank: int, n_basis: int, is_exact: bool) -> LowRank:
    """Project a matrix with no more rows than columns on a basis, and decompose the projection."""
    basis = _best_basis(delta, min(rank, n_basis)) if is_exact else _found_basis(delta, n_basis)
    core = basis.astype(np.float32).T @ delta
    # Decompose the core's few rows by their Gram matrix: an SVD took ten times as long.
    squares, vectors = _eigen(_gram(core))
    n_kept = max(1, min(rank, squares.size))
    u, s = vectors[:, :n_kept], np.sqrt(squares[:n_kept])
    n_kept = _n_kept(s, rank)
    roots = np.sqrt(s[:n_kept])
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0.0)
    return LowRank(
        (u[:, :n_kept] * inverse).T.astype(np.float32) @ core,
        (basis @ u[:, :n_kept] * roots).astype(np.float32),
        Energy(float(squares[:n_kept].sum()), squared_norm(delta)),
    )


def _best_basis(delta: Floats, rank: int) -> Doubles:
    """Return the first left singular vectors, (n_rows, rank), as eigenvectors of delta delta^T."""
    return np.ascontiguousarray(_eigen(_gram(delta))[1][:, :rank])


def _found_basis(delta: Floats, n_basis: int) -> Doubles:
    """Return an orthonormal basis that spans nearly all of the matrix, (n_rows, n_basis)."""
    rng = np.random.default_rng(_SEED)
    probe = rng.standard_normal((delta.shape[1], n_basis), dtype=np.float32)
    basis = _orthonormal(delta @ probe)
    for _ in range(N_POWER_ITERATIONS):
        other = _orthonormal(delta.T @ basis.astype(np.float32))
        basis = _orthonormal(delta @ other.astype(np.float32))
    return basis


def _orthonormal(columns: npt.NDArray[np.floating[Any]]) -> Doubles:
    """Return an orthonormal basis of the columns, without directions that are rounding errors.

    Uses their Gram matrix, as Cholesky QR does: an eighth of the time of Householder QR for 2048
    rows and 32 columns.
    """
    wide = columns.astype(np.float64)
    squares, vectors = _eigen(wide.T @ wide)
    is_kept = squares > 0.0
    if not is_kept.any():
        return wide[:, :1]
    return wide @ (vectors[:, is_kept] / np.sqrt(squares[is_kept]))


def _triangle(columns: Doubles) -> Doubles:
    """Return R of a QR decomposition."""
    return np.asarray(np.linalg.qr(columns, mode="r"))


def _gram(rows: Floats) -> Doubles:
    """Return the Gram matrix of the rows.

    Squaring in float64 keeps singular values down to 1e-7 of the largest, about the precision of
    float32 weights.
    """
    gram = np.zeros((rows.shape[0], rows.shape[0]))
    for part in _columns(rows):
        gram += part @ part.T
    return gram


def _eigen(gram: Doubles) -> tuple[Doubles, Doubles]:
    """Return eigenvalues, largest first, rounding errors as 0, and eigenvectors as columns."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1].copy(), vectors[:, ::-1]
    values[values <= _ROUNDING * values[0]] = 0.0
    return values, vectors


def _n_kept(s: Doubles, rank: int) -> int:
    return max(1, min(rank, int(np.count_nonzero(s))))


def _columns(delta: npt.NDArray[np.floating[Any]]) -> Iterator[Doubles]:
    """Yield the columns in order as float64, one chunk at a time."""
    step = max(1, _CHUNK_VALUES // delta.shape[0])
    for start in range(0, delta.shape[1], step):
        yield delta[:, start : start + step].astype(np.float64)
