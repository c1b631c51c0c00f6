"""Merged into the model that the base was quantised from, a stack arrives whole in its types."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.merging.merge import merge
from engine.errors import BaseError
from engine.gguf.ggml_type import GgmlType
from engine.llama.quants import quantized
from tests.support import tiny_models
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.gguf_raw import RawGguf
from tests.support.merging import (
    WIDE,
    Stack,
    bytes_of,
    distance,
    logits,
    parts_of,
    write_quantised,
    write_stack,
    write_untied,
)
from tests.support.tiny_models import write_adapter, write_base


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in WIDE.items():
        monkeypatch.setattr(tiny_models, name, value)
    return write_base(tmp_path / "original.gguf")


@pytest.fixture
def base(original: Path) -> Path:
    return write_quantised(original, original.with_name("base.gguf"), GgmlType.Q4_K)


@pytest.fixture
def stack(original: Path, tmp_path: Path) -> Stack:
    return write_stack(original, tmp_path, scale_of_weights=0.05)


def test_touched_tensors_are_quantised_once(base: Path, original: Path, stack: Stack) -> None:
    merged = merge(base, parts_of(stack), base.with_name("out.gguf"), original=original)
    assert 0.95 < merged.retained < 1.05
    with_delta, after = tensors_of(original), bytes_of(merged.path)
    for name, delta in deltas_of(stack).items():
        # One in ten thousand weights lies where float32 and float64 sums fall into other steps.
        expected = quantized((with_delta[name] + delta).astype(np.float32), GgmlType.Q4_K)
        found = np.frombuffer(after[name][1], dtype=np.uint8)
        assert np.mean(found != expected) < 0.01
        assert after[name][0] == int(GgmlType.Q4_K)
    assert (
        merge(
            base, parts_of(stack), base.with_name("kept.gguf"), type="keep", is_forced=True
        ).retained
        < 0.5
    )


def test_untouched_tensors_are_the_bases_own_quantisation(
    base: Path, original: Path, tmp_path: Path
) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", original, targets=["attn_q"])
    raw = RawGguf.read(base)
    up = raw.tensors["blk.0.ffn_up.weight"]  # as if an importance matrix had rounded it otherwise
    raw.tensors["blk.0.ffn_up.weight"] = replace(up, data=up.data[:-1] + bytes([up.data[-1] ^ 1]))
    raw.write(base)
    merged = merge(base, parts_of([(lora, 1.0)]), tmp_path / "out.gguf", original=original)
    before, after = bytes_of(base), bytes_of(merged.path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}


def test_another_type_is_made_of_the_original_throughout(
    base: Path, original: Path, tmp_path: Path
) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", original, targets=["attn_q"])
    merged = merge(
        base,
        parts_of([(lora, 1.0)]),
        tmp_path / "out.gguf",
        original=original,
        type=GgmlType.Q8_0,
    )
    expected = bytes_of(write_quantised(original, tmp_path / "q8.gguf", GgmlType.Q8_0))
    after = bytes_of(merged.path)
    changed = {name for name in expected if after[name] != expected[name]}
    assert changed == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}
    assert {after[name][0] for name in changed} == {int(GgmlType.Q8_0)}
    assert merged.n_requantised == sum(t[0] == int(GgmlType.Q8_0) for t in after.values()) - 2


def test_the_model_runs_with_the_stacks_effect(base: Path, original: Path, stack: Stack) -> None:
    merged = merge(base, parts_of(stack), base.with_name("out.gguf"), original=original)
    assert distance(logits(merged.path), logits(base)) > 0.1
    assert merged.path.stat().st_size < 1.1 * base.stat().st_size


def test_both_models_are_named(base: Path, original: Path, stack: Stack) -> None:
    out = merge(base, parts_of(stack), base.with_name("out.gguf"), original=original).path
    metadata = RawGguf.read(out).metadata
    digests = [metadata[f"lora_tui.merge.{key}"].value[0] for key in ("base.sha256",)]
    digests += metadata["lora_tui.merge.quantised_like.sha256"].value
    assert len(set(digests)) == 2


def test_tied_embeddings_are_untied_there_too(original: Path, tmp_path: Path) -> None:
    tied = write_base(tmp_path / "tied.gguf", is_tied=True)
    base = write_quantised(tied, tmp_path / "q8.gguf", GgmlType.Q8_0)
    untied = write_untied(tied, tmp_path / "untied.gguf")
    lora = write_adapter(tmp_path / "lora.gguf", untied, targets=["output"])
    merged = merge(base, parts_of([(lora, 1.0)]), tmp_path / "out.gguf", original=tied)
    after = bytes_of(merged.path)
    assert merged.is_untied
    assert after["token_embd.weight"] == bytes_of(base)["token_embd.weight"]
    assert after["output.weight"][0] == int(GgmlType.Q8_0)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("other architecture", "has the architecture 'qwen2'"),
        ("other size", "name the model the base was quantised from"),
        ("other weights", "has other weights than"),
        ("quantised itself", "is quantised itself"),
        ("tied", "lacks the tensor 'output.weight'.*embeddings tied"),
        ("fused", "lacks the tensor 'blk.0.attn_q.weight'.*split or fused"),
        ("an adapter", "is an adapter"),
        ("absent", "does not exist"),
    ],
)
def test_another_model_is_refused(
    base: Path, original: Path, stack: Stack, kind: str, sentence: str
) -> None:
    other = base.with_name("other.gguf")
    if kind == "other architecture":
        write_base(other, architecture="qwen2")
    elif kind == "other size":
        write_base(other, n_layer=3)
    elif kind == "other weights":
        write_base(other, seed=7)
    elif kind == "quantised itself":
        write_quantised(original, other, GgmlType.Q8_0)
    elif kind == "tied":
        write_base(other, is_tied=True)
    elif kind == "fused":
        raw = RawGguf.read(original)
        for layer in (0, 1):
            pieces = [raw.tensors.pop(f"blk.{layer}.attn_{letter}.weight") for letter in "qkv"]
            raw.tensors[f"blk.{layer}.attn_qkv.weight"] = pieces[0]
        raw.write(other)
    elif kind == "an adapter":
        other = stack[0][0]
    with pytest.raises(Exception, match=sentence) as caught:
        merge(base, parts_of(stack), base.with_name("out.gguf"), original=other)
    assert re.search(r"\.$", str(caught.value))
    assert kind == "absent" or isinstance(caught.value, BaseError)
    assert not base.with_name("out.gguf").exists()
