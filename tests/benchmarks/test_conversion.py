"""The cost of a conversion is that of the converting process alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.gguf.header import read_header
from tests.benchmarks.conversion import RANK, SMALL, THEIRS, what_is_missing
from tests.benchmarks.peft_folder import write_pair
from tests.benchmarks.plan import Plan

CHILD = Path(__file__).with_name("child.py")
BARE_PYTHON_BYTES = 40_000_000
MANY_BYTES = 200_000_000


def cost_of(code: str) -> dict[str, Any]:
    command = [sys.executable, "-I", "-S", str(CHILD), sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def test_the_peak_of_a_process_is_its_own() -> None:
    held = b"x" * MANY_BYTES  # by the process that measures
    assert cost_of("pass")["peak_bytes"] < BARE_PYTHON_BYTES
    assert cost_of(f"held = b'x' * {len(held)}")["peak_bytes"] > MANY_BYTES


def test_the_exit_code_is_told_and_the_output_is_not_mixed_up() -> None:
    cost = cost_of("import sys; print('{}'); sys.exit(3)")
    assert cost["exit_code"] == 3
    assert cost["wall_s"] > 0
    assert cost["cpu_s"] > 0


def test_the_base_has_a_whole_header_and_takes_no_room(tmp_path: Path) -> None:
    dimensions = replace(SMALL, n_ff=65_536)  # 50 MB of weights
    pair = write_pair(tmp_path, dimensions, RANK)
    header = read_header(pair.base)
    assert header.tensors["blk.1.ffn_up.weight"].shape == (dimensions.n_embd, dimensions.n_ff)
    assert pair.base.stat().st_size > 30_000_000
    assert pair.base.stat().st_blocks * 512 < 1_000_000


def test_a_pair_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, SMALL, RANK)
    before = pair.base.stat().st_mtime_ns
    assert write_pair(tmp_path, SMALL, RANK) == pair
    assert pair.base.stat().st_mtime_ns == before


def test_what_llama_cpps_converter_lacks_is_told(tmp_path: Path) -> None:
    plan = Plan(shapes=(), folder=tmp_path)
    assert "--llama-cpp" in (what_is_missing(plan) or "")
    assert str(tmp_path) in (what_is_missing(replace(plan, llama_cpp=tmp_path)) or "")
    (tmp_path / THEIRS).touch()
    # A virtual environment's Python without its packages.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    there = replace(plan, llama_cpp=tmp_path, torch_python=str(bare))
    assert "--torch-python" in (what_is_missing(there) or "")
