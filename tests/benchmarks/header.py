"""Measure the reading of a GGUF header with a large vocabulary: our reader against gguf-py's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import gguf

from engine.gguf.header import read_header
from tests.benchmarks.measurement import Report, Unit, progress
from tests.benchmarks.plan import Plan

N_TOKENS, N_MERGES = 128_000, 280_000
N_TOKENS_QUICK, N_MERGES_QUICK = 2_000, 4_000
N_RUNS = 5


def write_large_header(path: Path, n_tokens: int, n_merges: int) -> None:
    """Write a GGUF without weights, with a vocabulary of the given size."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token{n}" for n in range(n_tokens)])
    writer.add_token_types([1] * n_tokens)
    writer.add_token_merges([f"to ken{n}" for n in range(n_merges)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


async def measure(report: Report, plan: Plan) -> None:
    """Measure a header with the size of a Llama 3 model's."""
    progress("header: reading it with gguf-py takes a while")
    n_tokens = N_TOKENS_QUICK if plan.is_quick else N_TOKENS
    n_merges = N_MERGES_QUICK if plan.is_quick else N_MERGES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.gguf"
        write_large_header(path, n_tokens, n_merges)
        ours_s = median(_seconds(lambda: read_header(path)) for _ in range(N_RUNS))
        theirs_s = _seconds(lambda: gguf.GGUFReader(path))
    row = [
        f"{n_tokens} tokens, {n_merges} merges",
        report.add("header_read", ours_s, Unit.SECONDS),
        report.add("header_read_gguf_py", theirs_s, Unit.SECONDS),
        report.add("header_gguf_py_over_ours", theirs_s / ours_s),
    ]
    report.table("header read", ("vocabulary", "ours", "gguf-py", "ratio"), [row])


def _seconds(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s
