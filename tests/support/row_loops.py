"""What llama.cpp's converter does to the rows of a weight, as plain loops over heads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def permuted(weight: Floats, n_heads: int) -> Floats:
    """Return the rows of each head with its two halves mixed, one row of each in turn."""
    out = np.empty_like(weight)
    size = len(weight) // n_heads
    for head in range(n_heads):
        for pair in range(size // 2):
            for half in range(2):
                row = head * size + half * (size // 2) + pair
                out[head * size + 2 * pair + half] = weight[row]
    return out


def heads_apart(weight: Floats, n_heads: int) -> Floats:
    """Return all queries, all keys, all values of rows that have them head by head."""
    size = len(weight) // n_heads // 3
    rows = [
        weight[(head * 3 + part) * size + i]
        for part in range(3)
        for head in range(n_heads)
        for i in range(size)
    ]
    return np.array(rows)


def groups_apart(weight: Floats, n_heads: int, n_heads_kv: int) -> list[Floats]:
    """Return queries, keys and values of rows that have them key head by key head."""
    size = len(weight) // (n_heads + 2 * n_heads_kv)
    return parts_apart(weight, n_heads_kv, (n_heads // n_heads_kv * size, size, size))


def parts_apart(weight: Floats, n_groups: int, sizes: tuple[int, ...]) -> list[Floats]:
    """Return each part of all groups, of rows that have all parts group by group."""
    parts: list[list[Floats]] = [[] for _ in sizes]
    at = 0
    for _ in range(n_groups):
        for part, size in zip(parts, sizes, strict=True):
            part += list(weight[at : at + size])
            at += size
    return [np.array(part) for part in parts]


def latent_heads_apart(weight: Floats, n_heads: int, key_size: int) -> tuple[Floats, Floats]:
    """Return each head's keys, transposed, and each head's values, of rows head by head."""
    size = len(weight) // n_heads
    heads = [weight[head * size : (head + 1) * size] for head in range(n_heads)]
    return np.array([rows[:key_size].T for rows in heads]), np.array(
        [rows[key_size:] for rows in heads]
    )


def tiled(weight: Floats, n_keys: int, n_values: int) -> Floats:
    """Return value heads in turns over the key heads, of rows that have them key by key."""
    per_key, size = n_values // n_keys, len(weight) // n_values
    rows = [
        weight[(key * per_key + turn) * size + i]
        for turn in range(per_key)
        for key in range(n_keys)
        for i in range(size)
    ]
    return np.array(rows)
