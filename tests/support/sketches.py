"""Fingerprint a large matrix by its products with two random vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.seeded_values import random_of


def sketch(matrix: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the matrix times a vector, (…, n_out), and a vector times the matrix, (…, n_in).

    Any change of a value, or of the order of rows or columns, changes both.
    """
    n_out, n_in = matrix.shape[-2:]
    rows = matrix @ random_of("rows", (n_in,))
    columns = random_of("columns", (n_out,)) @ matrix
    return rows.astype(np.float32), columns.astype(np.float32)
