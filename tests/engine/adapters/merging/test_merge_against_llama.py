"""In llama.cpp a merged model gives the logits of the stack it was merged from."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.adapters.checking.tied_output import can_untie
from engine.adapters.merging.merge import merge
from engine.errors import AdapterError, BaseError
from engine.gguf.ggml_type import GgmlType
from tests.support import tiny_models
from tests.support.dense_delta import deltas_of
from tests.support.gguf_raw import RawGguf
from tests.support.merging import (
    WIDE,
    bytes_of,
    distance,
    logits,
    parts_of,
    write_f32,
    write_quantised,
    write_stack,
    write_untied,
)
from tests.support.split_base import write_split
from tests.support.tiny_latent import write_latent_base
from tests.support.tiny_models import Architecture, Dtype, write_adapter, write_base


# gemma's GELU looks its values up by F16, so that a last bit before makes a step behind.
@pytest.mark.parametrize(
    ("architecture", "tolerance"),
    [("llama", 1e-5), ("qwen2", 1e-5), ("gemma", 1e-3), ("mixtral", 1e-5)],
)
def test_an_f32_base_gives_the_stacks_logits(
    tmp_path: Path, architecture: Architecture, tolerance: float
) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture)
    stack = write_stack(base, tmp_path)
    merged = merge(base, parts_of(stack), tmp_path / "out.gguf")
    layered = logits(base, stack)
    assert distance(layered, logits(base)) > 1.0
    assert distance(logits(merged.path), layered) < tolerance


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0"])
def test_other_bases_are_as_near_to_the_stack_as_f16_is(tmp_path: Path, dtype: Dtype) -> None:
    base = write_base(tmp_path / "base.gguf", dtype=dtype)
    stack = write_stack(base, tmp_path)
    merged = merge(base, parts_of(stack), tmp_path / "out.gguf")
    # llama.cpp rounds what it multiplies by a tensor to the tensor's precision, so that only the
    # same values in f32 show what merging rounds by itself.
    exact = logits(write_f32(base, tmp_path / "f32.gguf"), stack)
    assert distance(logits(write_f32(merged.path, tmp_path / "merged-f32.gguf")), exact) < 0.02
    effect = distance(logits(base, stack), logits(base))
    assert effect > 1.0
    assert distance(logits(merged.path), logits(base, stack)) < 0.1 * effect


def test_a_k_quantised_base_keeps_the_stacks_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WIDE.items():
        monkeypatch.setattr(tiny_models, name, value)
    full = write_base(tmp_path / "full.gguf")
    base = write_quantised(full, tmp_path / "base.gguf", GgmlType.Q4_K)
    stack = write_stack(full, tmp_path)
    merged = merge(base, parts_of(stack), tmp_path / "out.gguf")
    assert {(t.from_type, t.to_type) for t in merged.tensors} == {(GgmlType.Q4_K, GgmlType.F16)}
    exact = logits(write_f32(base, tmp_path / "f32.gguf"), stack)
    assert distance(logits(write_f32(merged.path, tmp_path / "merged-f32.gguf")), exact) < 0.02
    effect = distance(logits(base, stack), logits(base))
    assert effect > 1.0
    assert distance(logits(merged.path), logits(base, stack)) < 0.1 * effect


def test_a_split_base_becomes_one_file(tmp_path: Path) -> None:
    whole = write_base(tmp_path / "whole.gguf")
    first = write_split(whole, "base", 3)[0]
    stack = write_stack(whole, tmp_path)
    merged = merge(first, parts_of(stack), tmp_path / "out.gguf")
    assert not any(key.startswith("split.") for key in RawGguf.read(merged.path).metadata)
    assert bytes_of(merged.path) == {
        name: bytes_of(merge(whole, parts_of(stack), tmp_path / "one.gguf").path)[name]
        for name in bytes_of(merged.path)
    }
    assert distance(logits(merged.path), logits(first, stack)) < 1e-5


def test_latent_attention_takes_effect_once_merged(tmp_path: Path) -> None:
    base = write_latent_base(tmp_path / "base.gguf", "deepseek2")
    targets = ["attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_k_b", "attn_v_b"]
    stack = [(write_adapter(tmp_path / "lora.gguf", base, targets=targets), 1.0)]
    assert distance(logits(base, stack), logits(base)) == 0.0  # llama.cpp ignores them all
    merged = merge(base, parts_of(stack), tmp_path / "out.gguf")
    assert len(merged.tensors) == 2 * len(targets)
    reference = write_f32(base, tmp_path / "numpy.gguf", deltas_of(stack))
    found = logits(merged.path)
    assert distance(found, logits(base)) > 0.1
    assert distance(found, logits(reference)) < 1e-5


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize(
    "targets", [["token_embd"], ["output"], ["token_embd", "output", "attn_q"]]
)
def test_tied_embeddings_are_untied_where_an_adapter_changes_one_of_the_two(
    tmp_path: Path, architecture: Architecture, targets: list[str]
) -> None:
    tied = write_base(tmp_path / "tied.gguf", architecture=architecture, is_tied=True)
    untied = write_untied(tied, tmp_path / "untied.gguf")
    stack = [(write_adapter(tmp_path / "lora.gguf", untied, targets=targets), 0.5)]
    merged = merge(tied, parts_of(stack), tmp_path / "out.gguf")
    assert merged.is_untied
    before, after = bytes_of(tied), bytes_of(merged.path)
    for name in ("token_embd", "output"):
        is_same = after[f"{name}.weight"] == before["token_embd.weight"]
        assert is_same == (name not in targets)
    layered = logits(untied, stack)
    assert distance(layered, logits(tied)) > 0.1
    assert distance(logits(merged.path), layered) < 1e-5


def test_tied_embeddings_stay_tied_where_no_adapter_changes_them(tmp_path: Path) -> None:
    tied = write_base(tmp_path / "tied.gguf", is_tied=True)
    merged = merge(tied, parts_of(write_stack(tied, tmp_path)), tmp_path / "out.gguf")
    assert not merged.is_untied
    assert "output.weight" not in bytes_of(merged.path)


def test_quantised_embeddings_are_copied_into_the_output(tmp_path: Path) -> None:
    full = write_base(tmp_path / "full.gguf", is_tied=True)
    tied = write_quantised(full, tmp_path / "tied.gguf", GgmlType.Q8_0)
    stack = [(write_adapter(tmp_path / "lora.gguf", full, targets=["token_embd"]), 1.0)]
    merged = merge(tied, parts_of(stack), tmp_path / "out.gguf")
    after = bytes_of(merged.path)
    assert after["output.weight"] == bytes_of(tied)["token_embd.weight"]
    assert after["token_embd.weight"][0] == int(GgmlType.F16)
    assert distance(logits(merged.path), logits(tied)) > 0.1


@pytest.mark.parametrize("target", ["token_embd", "output"])
def test_an_architecture_whose_output_is_never_loaded_is_refused(
    tmp_path: Path, target: str
) -> None:
    tied = write_base(tmp_path / "tied.gguf", architecture="gemma")
    untied = write_untied(tied, tmp_path / "untied.gguf")
    with pytest.raises(BaseError, match="wrong number of tensors"):
        logits(untied)
    lora = write_adapter(tmp_path / "lora.gguf", untied, targets=[target])
    with pytest.raises(AdapterError, match="cannot part in 'gemma' models"):
        merge(tied, parts_of([(lora, 1.0)]), tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_an_architecture_that_is_always_tied_is_refused(tmp_path: Path) -> None:
    tied = write_latent_base(tmp_path / "tied.gguf", "plm")
    untied = write_untied(tied, tmp_path / "untied.gguf")
    with pytest.raises(BaseError, match="wrong number of tensors"):
        logits(untied)
    lora = write_adapter(tmp_path / "lora.gguf", untied, targets=["output"])
    with pytest.raises(AdapterError, match="cannot part in 'plm' models"):
        merge(tied, parts_of([(lora, 1.0)]), tmp_path / "out.gguf")


def test_architectures_are_told_apart_by_whether_they_take_an_output() -> None:
    assert all(map(can_untie, ("llama", "qwen2", "qwen3", "gemma3", "granite", "ernie4_5-moe")))
    assert not any(map(can_untie, ("gemma", "gemma2", "command-r", "cohere2", "bert", "", None)))
