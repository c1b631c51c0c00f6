"""Record what each entry of a KV cache was computed from: its token and the stack in force.

An entry is valid exactly if it and all entries before it were computed from the wanted tokens under
the wanted stacks. So prefixes of (token, stack) pairs are compared; swapping stacks, going back,
activated adapters (aLoRA) and answers computed under several stacks need no special cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.int64]
"""Shape (2, n), int64: tokens in the first row, the keys of their stacks in the second."""


def stack_key(digest: str) -> int:
    """Return the first 64 bits of a stack's digest as a number, the same in every process."""
    return int.from_bytes(bytes.fromhex(digest[:16]), "little", signed=True)


def cells_of(tokens: Sequence[int], segments: Iterable[tuple[int, int]]) -> Cells:
    """Return the cells of `tokens`, with stack keys from segments `(end, key)`.

    Tokens after the last segment belong to it too.
    """
    cells = np.zeros((2, len(tokens)), dtype=np.int64)
    cells[0] = tokens
    start = 0
    for end, key in segments:
        cells[1, start:] = key
        start = end
    return cells


def common_prefix(left: Cells, right: Cells) -> int:
    """Return how many leading cells are equal in token and stack."""
    n = min(left.shape[1], right.shape[1])
    return _n_true((left[:, :n] == right[:, :n]).all(axis=0))


def common_tokens(left: Cells, right: Cells) -> int:
    """Return how many leading tokens are equal, ignoring their stacks."""
    n = min(left.shape[1], right.shape[1])
    return _n_true(left[0, :n] == right[0, :n])


def _n_true(is_equal: npt.NDArray[np.bool_]) -> int:
    """Return how many leading values are true."""
    if is_equal.size == 0:
        return 0
    first = int(is_equal.argmin())
    return int(is_equal.size) if is_equal[first] else first
