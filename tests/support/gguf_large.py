"""Write a GGUF file with the header of a large model, and measure peak memory."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

N_TOKENS = 128_256
N_MERGES = 280_147


def write_large_header(path: Path, *, n_tokens: int = N_TOKENS, n_merges: int = N_MERGES) -> Path:
    """Write a file with the vocabulary size and tensor count of Llama 3; the weights are tiny."""
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["".join(rng.choices(letters, k=rng.randint(2, 12))) + str(i) for i in range(n_tokens)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_block_count(32)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * n_tokens)
    writer.add_token_merges([f"{rng.choice(tokens)} {rng.choice(tokens)}" for _ in range(n_merges)])
    for layer in range(32):
        for part in range(9):
            writer.add_tensor(f"blk.{layer}.part{part}.weight", np.ones((1, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@dataclass(slots=True)
class PeakMemory:
    """The peak of Python's memory allocations inside `peak_memory`."""

    n_bytes: int = 0


@contextlib.contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure the peak of Python's allocations in the block; the result is set at its end."""
    peak = PeakMemory()
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.n_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
