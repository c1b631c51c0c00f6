"""A context that records how its state was computed, and cold contexts that repeat it.

llama.cpp's rounding depends on the batch size, so a cold engine gives equal bits only if it
evaluates the same batches. A lineage is the sequence of batches, with the adapters applied to
each, and of cuts; it is saved and restored along with a state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context
from engine.llama.model import Model

Logits = npt.NDArray[np.float32]
Applied = tuple[tuple[LoraAdapter, float], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Tokens evaluated in one call."""

    adapters: Applied
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """A truncation of a state to its first tokens."""

    n_tokens: int


Lineage = tuple[Batch | Cut, ...]


class RecordingContext(Context):
    """A context that records the lineage of its state, in `lineage`."""

    def __init__(self, model: Model, **options: Any) -> None:
        super().__init__(model, **options)
        self.options = options
        self.lineage: Lineage = ()
        self._saved: dict[bytes, Lineage] = {}

    def decode(self, tokens: Sequence[int]) -> bool:
        is_done = super().decode(tokens)
        assert is_done
        self.lineage = (*self.lineage, Batch(self._adapters, tuple(tokens)))
        return is_done

    def truncate(self, n_tokens: int) -> bool:
        is_done = super().truncate(n_tokens)
        if is_done:
            self.lineage = (*self.lineage, Cut(n_tokens))
        return is_done

    def clear(self) -> None:
        super().clear()
        self.lineage = ()

    def save_state(self) -> npt.NDArray[np.uint8] | None:
        data = super().save_state()
        assert data is not None
        self._saved[hashlib.sha256(data.tobytes()).digest()] = self.lineage
        return data

    def load_state(self, data: npt.NDArray[np.uint8]) -> bool:
        is_done = super().load_state(data)
        assert is_done
        self.lineage = self._saved[hashlib.sha256(data.tobytes()).digest()]
        return is_done

    def entries(self) -> list[tuple[int, dict[LoraAdapter, float]]]:
        """Return each token held, with the adapters and scales it was computed under."""
        entries: list[tuple[int, dict[LoraAdapter, float]]] = []
        for step in self.lineage:
            if isinstance(step, Cut):
                del entries[step.n_tokens :]
            else:
                entries += [(token, dict(step.adapters)) for token in step.tokens]
        return entries

    def replayed_logits(self) -> Logits:
        """Return the logits of a new context that repeats the batches and cuts."""
        with Context(self._model, **self.options) as context:
            for step in self.lineage:
                if isinstance(step, Cut):
                    assert context.truncate(step.n_tokens)
                else:
                    context.set_adapters(step.adapters)
                    context.decode(step.tokens)
            return context.logits()

    def cold_logits(self, parts: Sequence[tuple[Applied, Sequence[int]]]) -> Logits:
        """Return the logits of a new context that evaluates each part in full batches."""
        with Context(self._model, **self.options) as context:
            for adapters, tokens in parts:
                context.set_adapters(adapters)
                for start in range(0, len(tokens), context.n_batch):
                    context.decode(tokens[start : start + context.n_batch])
            return context.logits()
