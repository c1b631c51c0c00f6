"""The row permutations of llama.cpp's converter, as plain loops over heads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def permuted(weight: Floats, n_heads: int) -> Floats:
    """Interleave the two halves of each head's rows."""
    out = np.empty_like(weight)
    size = len(weight) // n_heads
    for head in range(n_heads):
        for pair in range(size // 2):
            for half in range(2):
                row = head * size + half * (size // 2) + pair
                out[head * size + 2 * pair + half] = weight[row]
    return out


def heads_apart(weight: Floats, n_heads: int) -> Floats:
    """Reorder rows grouped by head (query, key, value) to all queries, all keys, all values."""
    size = len(weight) // n_heads // 3
    rows = [
        weight[(head * 3 + part) * size + i]
        for part in range(3)
        for head in range(n_heads)
        for i in range(size)
    ]
    return np.array(rows)


def groups_apart(weight: Floats, n_heads: int, n_heads_kv: int) -> list[Floats]:
    """Split rows grouped by key head into all queries, all keys and all values."""
    size = len(weight) // (n_heads + 2 * n_heads_kv)
    return parts_apart(weight, n_heads_kv, (n_heads // n_heads_kv * size, size, size))


def parts_apart(weight: Floats, n_groups: int, sizes: tuple[int, ...]) -> list[Floats]:
    """Split rows grouped by group into parts of the given sizes per group."""
    parts: list[list[Floats]] = [[] for _ in sizes]
    at = 0
    for _ in range(n_groups):
        for part, size in zip(parts, sizes, strict=True):
            part += list(weight[at : at + size])
            at += size
    return [np.array(part) for part in parts]


def latent_heads_apart(weight: Floats, n_heads: int, key_size: int) -> tuple[Floats, Floats]:
    """Split rows grouped by head into each head's transposed keys and each head's values."""
    size = len(weight) // n_heads
    heads = [weight[head * size : (head + 1) * size] for head in range(n_heads)]
    return np.array([rows[:key_size].T for rows in heads]), np.array(
        [rows[key_size:] for rows in heads]
    )


def tiled(weight: Floats, n_keys: int, n_values: int) -> Floats:
    """Reorder value heads grouped by key head so that they cycle through the key heads."""
    per_key, size = n_values // n_keys, len(weight) // n_values
    rows = [
        weight[(key * per_key + turn) * size + i]
        for turn in range(per_key)
        for key in range(n_keys)
        for i in range(size)
    ]
    return np.array(rows)
