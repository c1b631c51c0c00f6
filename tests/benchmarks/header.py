"""Reading a GGUF header with a large vocabulary: ours against gguf-py's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import gguf

from engine.adapters.header import read_header

N_TOKENS, N_MERGES = 128_000, 280_000


def write_large_header(path: Path) -> None:
    """Write a GGUF without weights whose header has the size of a Llama 3 model's."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token{n}" for n in range(N_TOKENS)])
    writer.add_token_types([1] * N_TOKENS)
    writer.add_token_merges([f"to ken{n}" for n in range(N_MERGES)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def seconds(action: Callable[[], object], n_runs: int) -> float:
    """Return the shortest of `n_runs` runs, in seconds."""
    best_s = float("inf")
    for _ in range(n_runs):
        started = time.perf_counter()
        action()
        best_s = min(best_s, time.perf_counter() - started)
    return best_s


def measure(folder: Path) -> str:
    """Return one line: both times and their ratio."""
    path = folder / "header.gguf"
    write_large_header(path)
    ours_s = seconds(lambda: read_header(path), 5)
    theirs_s = seconds(lambda: gguf.GGUFReader(path), 1)
    return (
        f"header, {N_TOKENS} tokens and {N_MERGES} merges: "
        f"{ours_s * 1e3:.1f} ms, gguf-py {theirs_s:.2f} s, ratio {theirs_s / ours_s:.0f}"
    )
