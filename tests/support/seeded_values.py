"""Random weights that depend only on a name, so that references need not store them."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

LORA_SIZE = 0.2
"""The standard deviation of both factors of the tests' adapters."""


def random_of(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return normal random numbers seeded by the name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


def lora_values(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the values of one factor of an adapter."""
    return (LORA_SIZE * random_of(name, shape)).astype(np.float32)
