"""What merging leaves when it is killed, and how much memory it takes."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.adapters.merging.merge import merge
from tests.support.merging import parts_of
from tests.support.places import ROOT
from tests.support.tiny_models import write_adapter, write_base

MIB = 2**20


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf")


@pytest.fixture
def lora(base: Path) -> Path:
    return write_adapter(base.with_name("lora.gguf"), base)


@contextmanager
def half_way(base: Path, lora: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a child that has written half of a merged model."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.merge_child", str(base), str(lora), str(out)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "merging\n"
        try:
            yield child
        finally:
            child.kill()


def parts_left(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_killed_merge_leaves_no_output_and_the_next_one_sweeps_up(
    base: Path, lora: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.gguf"
    with half_way(base, lora, out) as child:
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert not out.exists()
    (part,) = parts_left(tmp_path)
    assert part.stat().st_size > 100_000
    merged = merge(base, parts_of([(lora, 1.0)]), out)
    assert parts_left(tmp_path) == []
    assert out.stat().st_size == merged.size_bytes


def test_an_interrupted_merge_leaves_nothing(base: Path, lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    with half_way(base, lora, out) as child:
        child.send_signal(signal.SIGINT)
        assert child.wait() != 0
    assert not out.exists()
    assert parts_left(tmp_path) == []


def test_two_merges_to_one_output_leave_each_other_alone(
    base: Path, lora: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.gguf"
    with half_way(base, lora, out) as child:
        merge(base, parts_of([(lora, 1.0)]), out)
        assert len(parts_left(tmp_path)) == 1
        expected = out.read_bytes()
        out.unlink()
        stdout, _ = child.communicate("go on\n")
        assert stdout == "done\n"
    assert out.read_bytes() == expected


def test_memory_is_for_blocks_and_not_for_tensors(tmp_path: Path) -> None:
    n_in, n_out, rank = 4096, 8192, 8
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((64, n_in)) * 0.02).astype(np.float16)
    base = tmp_path / "large.gguf"
    writer = gguf.GGUFWriter(base, "llama")
    writer.add_tensor("blk.0.ffn_up.weight", np.tile(rows, (n_out // 64, 1)))
    lora = tmp_path / "lora.gguf"
    adapter = gguf.GGUFWriter(lora, "llama")
    adapter.add_type("adapter")
    adapter.add_string("adapter.type", "lora")
    for half, shape in (("a", (rank, n_in)), ("b", (n_out, rank))):
        values = (rng.standard_normal(shape) * 0.02).astype(np.float32)
        adapter.add_tensor(f"blk.0.ffn_up.weight.lora_{half}", values)
    for each in (writer, adapter):
        each.write_header_to_file()
        each.write_kv_data_to_file()
        each.write_tensors_to_file()
        each.close()
    del writer, adapter
    parts = parts_of([(lora, 1.0)])
    tensor_bytes = n_in * n_out * 2
    assert tensor_bytes == 64 * MIB
    tracemalloc.start()
    try:
        merged = merge(base, parts, tmp_path / "out.gguf", n_threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert merged.retained > 0.99
    assert peak < 56 * MIB  # the tensor alone, as float32, is 128
