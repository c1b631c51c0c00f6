"""Load the stored reference of each architecture, and compute llama.cpp's logits for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context, KvType
from engine.llama.model import Model
from tests.support.dense_delta import deltas_of

Floats = NDArray[np.float32]

DATA = Path(__file__).parents[1] / "references" / "architectures"
"""Made by tests/references/make_architectures.py."""
NAMES = sorted(path.parent.name for path in DATA.glob("*/base.gguf"))
UNUSED_AT_RUN_TIME = ("deepseek2",)
"""Architectures whose attention llama.cpp computes without the adapter, unless it is merged."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Results of transformers and PEFT for one architecture."""

    folder: Path
    tokens: NDArray[np.int32]
    logits: dict[str, Floats]
    """By `base` and adapter name, each of shape (n_tokens, n_vocab)."""

    @property
    def base(self) -> Path:
        """The base model's file, in float32."""
        return self.folder / "base.gguf"

    def error(self, name: str, base: Path, adapter: Path | None = None) -> float:
        """Return the largest logit difference between llama.cpp and `logits[name]`.

        Merges an adapter that llama.cpp would not apply into the weights of the base first.
        """
        if adapter is not None and self.folder.name in UNUSED_AT_RUN_TIME:
            base, adapter = merged(base, adapter, adapter.with_suffix(".merged")), None
        return float(np.abs(llama_logits(base, self.tokens, adapter) - self.logits[name]).max())

    def effect(self, name: str) -> float:
        """Return the largest logit difference that the adapter causes."""
        return float(np.abs(self.logits[name] - self.logits["base"]).max())


def reference(name: str) -> Reference:
    """Return the stored reference of an architecture."""
    with np.load(DATA / name / "logits.npz") as stored:
        logits = dict(stored)
    return Reference(DATA / name, logits.pop("tokens"), logits)


def llama_logits(base: Path, tokens: NDArray[np.int32], adapter: Path | None = None) -> Floats:
    """Return llama.cpp's logits after every token, shape (n_tokens, n_vocab)."""
    with Model(base, n_gpu_layers=0) as model:
        context = Context(
            model,
            n_ctx=128,
            n_batch=128,
            n_threads=1,
            kv_type=KvType.F32,
            uses_flash_attention=False,
        )
        if adapter is not None:
            context.set_adapters([(LoraAdapter(model, adapter), 1.0)])
        return context.evaluate(tokens.tolist())


def merged(base: Path, adapter: Path, out: Path) -> Path:
    """Write the base with the adapter's deltas added to its float32 weights."""
    shutil.copy(base, out)
    weights = {tensor.name: tensor.data for tensor in gguf.GGUFReader(out, "r+").tensors}
    for target, delta in deltas_of([(adapter, 1.0)]).items():
        weights[target] += delta.astype(np.float32)
        weights[target].flush()
    return out
