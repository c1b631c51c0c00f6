"""The measured models: random weights in the shapes of real models, written once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.adapters.read import read_adapter
from engine.stack import Adapter
from tests.benchmarks.measurement import progress
from tests.benchmarks.models import Dimensions, write_adapter, write_base

N_ADAPTERS = 8
_VERSION = 1
"""Part of the file names; raise it when the content of the files changes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A llama model with `N_ADAPTERS` adapters of one rank on all linear layers."""

    dimensions: Dimensions
    dtype: Literal["q8_0", "q4_0"]
    rank: int
    n_prompt: int
    """Number of prompt tokens for the prefill measurement."""
    n_rounds: int
    """Samples of each way of decoding, if the time suffices."""
    n_swap_rounds: int
    """Number of conversations for the swap measurement."""

    @property
    def key(self) -> str:
        """The part of a figure's key that names the shape, `30x576_q8_0`."""
        return f"{self.dimensions.n_layer}x{self.dimensions.n_embd}_{self.dtype}"

    @property
    def title(self) -> str:
        """The name of the shape in tables."""
        size = f"{self.dimensions.n_layer} layers x {self.dimensions.n_embd}"
        return f"{size}, {self.dtype.upper()}, adapters of rank {self.rank}"


@dataclass(frozen=True, slots=True)
class Files:
    """A shape as files."""

    shape: Shape
    base: Path
    adapters: tuple[Adapter, ...]


SMALL = Shape(
    Dimensions(n_layer=30, n_embd=576, n_head=9, n_head_kv=3, n_ff=1536, n_vocab=49_152),
    dtype="q8_0",
    rank=16,
    n_prompt=128,
    n_rounds=7,
    n_swap_rounds=2,
)
"""The shape of SmolLM2 135M."""
LARGE = Shape(
    Dimensions(n_layer=16, n_embd=2048, n_head=32, n_head_kv=8, n_ff=8192, n_vocab=32_000),
    dtype="q4_0",
    rank=16,
    n_prompt=64,
    n_rounds=5,
    n_swap_rounds=1,
)
"""The shape of Llama 3.2 1B, with a smaller vocabulary."""
TINY = Shape(
    Dimensions(n_layer=2, n_embd=64, n_head=4, n_head_kv=2, n_ff=128, n_vocab=320),
    dtype="q8_0",
    rank=4,
    n_prompt=128,
    n_rounds=3,
    n_swap_rounds=2,
)
"""A shape for trying the benchmarks; its figures are meaningless."""

SHAPES = {shape.key: shape for shape in (SMALL, LARGE, TINY)}


def files_of(shape: Shape, folder: Path) -> Files:
    """Return the files of a shape, written into `folder` unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256(f"{_VERSION} {shape.dimensions} {shape.rank}".encode()).hexdigest()[:8]
    stem = f"{shape.key}-{version}"
    base = folder / f"{stem}.gguf"
    if not base.exists():
        progress(f"writing {base.name}")
        write_base(base, shape.dimensions, shape.dtype)
    adapters = []
    for n in range(1, N_ADAPTERS + 1):
        path = folder / f"{stem}-adapter-{n}.gguf"
        if not path.exists():
            progress(f"writing {path.name}")
            write_adapter(path, shape.dimensions, rank=shape.rank, seed=n)
        adapters.append(read_adapter(path, f"adapter-{n}"))
    return Files(shape, base, tuple(adapters))
