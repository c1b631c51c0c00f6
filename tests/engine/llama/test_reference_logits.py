"""llama.cpp with a stack of adapters answers what PEFT computed for the same weights.

The largest difference of a logit was 3.5e-5, between stacks that differ by 1.8 or more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.checking.check import require_fit
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context, KvType
from engine.llama.model import Model
from tests.support.places import REFERENCES

DATA = REFERENCES / "data"
REFERENCES = json.loads((DATA / "references.json").read_text("utf-8"))
LOGITS: NDArray[np.float32] = np.load(DATA / "logits.npy")
STACKS: list[dict[str, float]] = REFERENCES["stacks"]
PROMPTS: list[list[int]] = REFERENCES["prompts"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The reference base and adapters, loaded once for all stacks."""

    context: Context
    adapters: dict[str, LoraAdapter]

    def logits(self, stack: dict[str, float]) -> NDArray[np.float32]:
        """Return the logits after each prompt, shape (n_prompts, n_vocab)."""
        self.context.set_adapters([(self.adapters[name], scale) for name, scale in stack.items()])
        rows = []
        for prompt in PROMPTS:
            self.context.clear()
            self.context.decode(prompt)
            rows.append(self.context.logits())
        return np.stack(rows)


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    with Model(DATA / "base.gguf", n_gpu_layers=0) as model:
        context = Context(
            model,
            n_ctx=256,
            n_batch=256,
            n_threads=1,
            kv_type=KvType.F32,
            uses_flash_attention=False,
        )
        adapters = {}
        for name in ("first", "second"):
            require_fit(DATA / f"{name}.gguf", DATA / "base.gguf")
            adapters[name] = LoraAdapter(model, DATA / f"{name}.gguf")
        yield Loaded(context, adapters)


@pytest.mark.parametrize("index", range(len(STACKS)), ids=[str(stack) for stack in STACKS])
def test_the_logits_are_those_of_peft(loaded: Loaded, index: int) -> None:
    np.testing.assert_allclose(loaded.logits(STACKS[index]), LOGITS[index], rtol=0, atol=1e-4)


def test_the_stacks_differ_by_far_more_than_the_tolerance() -> None:
    for i in range(len(STACKS)):
        for j in range(i):
            assert np.abs(LOGITS[i] - LOGITS[j]).max() > 1.0
