"""The options of one benchmark run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.shapes import Files, Shape, files_of


@dataclass(frozen=True, slots=True)
class Plan:
    """Which models are measured, and how thoroughly."""

    shapes: tuple[Shape, ...]
    folder: Path
    """The folder in which the models are written and kept."""
    is_quick: bool = False
    """Whether to only try the benchmarks: one round, short prompts and answers."""
    num_thread: int | None = None
    """Threads for evaluation; None lets the engine choose."""
    llama_cpp: Path | None = None
    """A folder of llama.cpp's source, whose converter is also measured."""
    torch_python: str = sys.executable
    """A Python that has torch and transformers, which that converter needs."""

    def files(self) -> Iterator[Files]:
        """Yield the models, written if they do not exist yet."""
        for shape in self.shapes:
            yield files_of(shape, self.folder)

    def n_rounds(self, n: int) -> int:
        """Return the number of rounds, which is `n` in a full run."""
        return 1 if self.is_quick else n
