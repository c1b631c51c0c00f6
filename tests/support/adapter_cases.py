"""Adapters as other programs saved them, for one small Llama, with the logits that are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.adapters.conversion.convert import convert
from tests.support.architecture_references import llama_logits

CASES = Path(__file__).parents[1] / "engine" / "adapters" / "foreign" / "data"
BASE = CASES / "base.gguf"


def stored_logits(path: Path, name: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return tokens and PEFT's logits under `name`, shape (n_tokens, n_vocab)."""
    with np.load(path) as stored:
        tokens, logits = stored["ids"], stored[name]
    return tokens.reshape(-1).astype(np.int32), logits.reshape(-1, logits.shape[-1])


def error(source: Path, out: Path, logits: Path = CASES / "logits.npz", name: str = "a1") -> float:
    """Convert an adapter to `out`; return llama.cpp's largest difference from PEFT's logits."""
    convert(source, BASE, out, out_type="f32")
    tokens, expected = stored_logits(logits, name)
    return float(np.abs(llama_logits(BASE, tokens, out) - expected).max())
