"""A GGUF file with the header of a large model, to measure what reading it costs."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from engine.adapters.header import read_header

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


@dataclass(frozen=True, slots=True)
class HeaderTimes:
    """Seconds to read one header, the best of some, with both readers."""

    header_s: float
    gguf_reader_s: float

    @property
    def ratio(self) -> float:
        """How many times as fast as `gguf.GGUFReader` the project's reader is."""
        return self.gguf_reader_s / self.header_s


def measure_header(path: Path) -> HeaderTimes:
    """Read a header with both readers and time them; GGUFReader once, as it takes seconds."""
    return HeaderTimes(
        header_s=min(_seconds(lambda: read_header(path)) for _ in range(5)),
        gguf_reader_s=_seconds(lambda: gguf.GGUFReader(path)),
    )


@dataclass(slots=True)
class PeakMemory:
    """The most memory that Python held at once inside `peak_memory`."""

    n_bytes: int = 0


@contextlib.contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure the memory that Python allocates in the block; it is known after the block."""
    peak = PeakMemory()
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.n_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
