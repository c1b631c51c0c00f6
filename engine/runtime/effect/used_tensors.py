"""Find which of an adapter's tensors llama.cpp's graph really multiplies on the loaded base."""

from __future__ import annotations

from dataclasses import dataclass

from engine.adapters.pairs import pairs_of
from engine.gguf.header import GgufHeader
from engine.llama.adapter import LoraAdapter
from engine.llama.model import Model
from engine.llama.trace import traced_names


@dataclass(frozen=True, slots=True)
class Usage:
    """How many of an adapter's tensor pairs an evaluation uses."""

    n_tensors: int
    """Number of the adapter's tensor pairs."""
    n_used: int
    """Number of pairs with both tensors multiplied."""
    unused: tuple[str, ...]
    """Base tensors whose pairs are loaded but never multiplied, in the order of the file."""


def usage_of(
    model: Model, adapter: LoraAdapter, header: GgufHeader, *, n_threads: int
) -> Usage | None:
    """Return how many tensors of `adapter` llama.cpp uses; None if that cannot be traced.

    Evaluates one token in its own context. If the table of `checking.ignored_tensors` disagrees,
    this result is right: the table was written from the source of one version.

    Args:
        model: The base that `adapter` was loaded for.
        adapter: The loaded adapter.
        header: The header of the adapter's file.
        n_threads: CPU threads.
    """
    seen = traced_names(model, adapter, n_threads=n_threads)
    if seen is None:
        return None
    pairs = pairs_of(header)
    unused = tuple(pair.target for pair in pairs if not {pair.a.name, pair.b.name} <= seen)
    return Usage(len(pairs), len(pairs) - len(unused), unused)
