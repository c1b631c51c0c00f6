"""What one run of the measurements is to do."""

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
    """Where the models are written and kept."""
    is_quick: bool = False
    """Whether to try the programs out: one round, short prompts and answers."""
    num_thread: int | None = None
    """Threads for evaluation; None is what the engine chooses."""
    llama_cpp: Path | None = None
    """A folder of llama.cpp's source, whose converter is measured too."""
    torch_python: str = sys.executable
    """A Python that has torch and transformers, which that converter needs."""

    def files(self) -> Iterator[Files]:
        """Yield the models, written where they are not there yet."""
        for shape in self.shapes:
            yield files_of(shape, self.folder)

    def n_rounds(self, n: int) -> int:
        """Return how many rounds to take where a whole run takes `n`."""
        return 1 if self.is_quick else n
