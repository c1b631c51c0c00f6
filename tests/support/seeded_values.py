"""Random weights that nothing but a name decides, the same with every version of everything."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

LORA_SIZE = 0.2
"""The standard deviation of both factors of the tests' adapters."""


def random_of(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return normal random numbers that the name decides."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


def lora_values(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return what a factor of an adapter holds."""
    return (LORA_SIZE * random_of(name, shape)).astype(np.float32)
