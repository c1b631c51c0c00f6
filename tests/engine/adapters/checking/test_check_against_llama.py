"""llama.cpp itself: it dies of files that the check refuses, and runs all that the check lets by.

Each file is loaded in a process of its own, since a crash is one of the outcomes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.adapters.checking.check import check
from engine.gguf.header import read_header
from engine.gguf.model_header import require_base
from tests.engine.adapters.broken_adapters import ALPHA, CASES, EXPERTS, Q, says, zeros
from tests.support.gguf_child import load_in_child
from tests.support.gguf_raw import RawGguf, RawTensor
from tests.support.tiny_models import LINEAR, Architecture, Dtype, write_adapter, write_base

# Measured with llama-cpp-python 0.3.36: abort, segmentation fault, abort.
DEADLY = ["alpha as text", "integers", "embeddings of a tied base"]

SOUND: list[tuple[Architecture, bool, Dtype, tuple[str, ...]]] = [
    ("llama", False, "f32", (*LINEAR, "token_embd", "output")),
    ("llama", True, "q8_0", LINEAR),
    ("qwen2", False, "f16", LINEAR),
    ("gemma", True, "bf16", LINEAR),
    ("mixtral", False, "f32", (*LINEAR, *EXPERTS, "ffn_gate_inp")),
    ("mixtral", False, "q8_0", EXPERTS),
]


def test_files_that_kill_llama_cpp_are_refused(tmp_path: Path) -> None:
    outcomes = []
    for name in DEADLY:
        base, adapter = CASES[name].write(tmp_path)
        assert check(read_header(adapter), require_base(base)) != ()
        outcomes.append(load_in_child(base, adapter))
    assert not any(outcome.has_decoded for outcome in outcomes)
    assert any(outcome.has_crashed for outcome in outcomes)


@pytest.mark.parametrize(("architecture", "is_tied", "dtype", "targets"), SOUND)
def test_what_the_check_accepts_is_loaded_and_changes_the_logits(
    tmp_path: Path,
    architecture: Architecture,
    is_tied: bool,
    dtype: Dtype,
    targets: tuple[str, ...],
) -> None:
    base = write_base(
        tmp_path / "base.gguf", architecture=architecture, is_tied=is_tied, dtype=dtype
    )
    adapter = write_adapter(tmp_path / "adapter.gguf", base, dtype=dtype, targets=targets, rank=3)
    assert check(read_header(adapter), require_base(base)) == ()
    outcome = load_in_child(base, adapter)
    assert outcome.has_decoded
    assert outcome.effect > 0.5


def with_vector_halves(raw: RawGguf) -> None:
    raw.tensors[f"{Q}.lora_a"] = RawTensor((64,), 0, bytes(256))
    raw.tensors[f"{Q}.lora_b"] = zeros(64, 1)


def with_norms(raw: RawGguf) -> None:
    raw.tensors["blk.0.attn_norm.weight"] = zeros(64)


def with_a_pair_on_a_norm(raw: RawGguf) -> None:
    raw.tensors["output_norm.weight.lora_a"] = zeros(1, 64)
    raw.tensors["output_norm.weight.lora_b"] = zeros(1, 1)


@pytest.mark.parametrize(
    "change",
    [says(ALPHA, None), with_vector_halves, with_norms, with_a_pair_on_a_norm],
    ids=["no alpha", "halves that are vectors", "norms", "a pair on a norm"],
)
def test_what_is_odd_but_accepted_is_loaded_too(
    tmp_path: Path, change: Callable[[RawGguf], None]
) -> None:
    base = write_base(tmp_path / "base.gguf")
    path = write_adapter(tmp_path / "adapter.gguf", base)
    raw = RawGguf.read(path)
    change(raw)
    assert check(read_header(raw.write(path)), require_base(base)) == ()
    assert load_in_child(base, path).has_decoded
