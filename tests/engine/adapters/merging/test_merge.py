"""A merged model holds what numpy computes, and everything else byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.adapters.merging import blocks as merge_blocks
from engine.adapters.merging import checks as merge_checks
from engine.adapters.merging.merge import merge
from engine.adapters.read import read_adapter
from engine.disk.whole_output import new_file, sweep_parts
from engine.errors import AdapterError, BaseError, Cancelled, EngineError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.metadata import ValueType
from tests.support import tiny_models
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.gguf_raw import RawGguf, RawValue, tensor_of
from tests.support.merging import (
    WIDE,
    Stack,
    bytes_of,
    parts_of,
    write_quantised,
    write_stack,
)
from tests.support.tiny_models import Dtype, write_adapter, write_base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf")


@pytest.fixture
def stack(base: Path, tmp_path: Path) -> Stack:
    return write_stack(base, tmp_path)


def parts_left(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
def test_touched_tensors_are_base_plus_delta(
    tmp_path: Path, architecture: tiny_models.Architecture
) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture)
    stack = write_stack(base, tmp_path)
    merged = merge(base, parts_of(stack), tmp_path / "out.gguf")
    before, after, deltas = tensors_of(base), tensors_of(merged.path), deltas_of(stack)
    assert [tensor.name for tensor in merged.tensors] == [n for n in before if n in deltas]
    for name, values in after.items():
        np.testing.assert_allclose(values, before[name] + deltas.get(name, 0.0), atol=2e-6)
    assert merged.retained == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "type_"),
    [("f32", GgmlType.F32), ("f16", GgmlType.F16), ("bf16", GgmlType.F16), ("q8_0", GgmlType.F16)],
)
def test_by_default_f32_stays_and_everything_else_becomes_f16(
    tmp_path: Path, dtype: Dtype, type_: GgmlType
) -> None:
    base = write_base(tmp_path / "base.gguf", dtype=dtype)
    stack = write_stack(base, tmp_path)
    merged = merge(base, parts_of(stack), tmp_path / "out.gguf")
    assert {tensor.to_type for tensor in merged.tensors} == {type_}
    values, before, deltas = tensors_of(merged.path), tensors_of(base), deltas_of(stack)
    for name, delta in deltas.items():
        expected = before[name] + delta
        # Half a unit in the last place of F16, and of F32 what a sum of products may be off.
        step = np.abs(expected) * 2.0**-11 if type_ is GgmlType.F16 else 0.0
        assert np.all(np.abs(values[name] - expected) <= step + 2e-6)


def test_everything_else_is_copied_byte_for_byte(base: Path, tmp_path: Path) -> None:
    quantised = write_quantised(base, tmp_path / "q4_0.gguf", GgmlType.Q4_0)
    lora = write_adapter(tmp_path / "lora.gguf", base, targets=["attn_q"])
    merged = merge(quantised, parts_of([(lora, 1.0)]), tmp_path / "out.gguf")
    before, after = bytes_of(quantised), bytes_of(merged.path)
    assert list(after) == list(before)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}
    assert merged.n_copied == len(before) - 2


def test_a_wanted_type_is_llama_cpps_own_quantisation(base: Path, tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", base, targets=["attn_q"])
    parts = parts_of([(lora, 1.0)])
    exact = tensors_of(merge(base, parts, tmp_path / "f32.gguf").path)
    merged = merge(base, parts, tmp_path / "out.gguf", type=GgmlType.Q8_0)
    for name in ("blk.0.attn_q.weight", "blk.1.attn_q.weight"):
        expected = gguf.quants.quantize(
            exact[name].astype(np.float32), gguf.GGMLQuantizationType.Q8_0
        )
        assert bytes_of(merged.path)[name] == (int(GgmlType.Q8_0), expected.tobytes())


def test_what_llama_cpp_never_quantises_stays_f32(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", architecture="mixtral")
    lora = write_adapter(tmp_path / "lora.gguf", base, targets=["ffn_gate_inp", "attn_q"])
    parts = parts_of([(lora, 1.0)])
    merged = merge(base, parts, tmp_path / "out.gguf", type=GgmlType.Q8_0)
    assert {tensor.to_type for tensor in merged.tensors if "gate_inp" in tensor.name} == {
        GgmlType.F32
    }
    half = merge(base, parts, tmp_path / "half.gguf", type=GgmlType.F16)
    assert {tensor.to_type for tensor in half.tensors} == {GgmlType.F16}


def test_rows_that_fill_no_block_fall_back_as_in_llama_cpp(base: Path, stack: Stack) -> None:
    merged = merge(base, parts_of(stack), base.with_name("out.gguf"), type=GgmlType.Q4_K)
    assert {tensor.to_type for tensor in merged.tensors} == {GgmlType.Q5_0}  # rows of 64, 128


@pytest.fixture
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 256 and 512 values."""
    for name, value in WIDE.items():
        monkeypatch.setattr(tiny_models, name, value)


@pytest.mark.usefixtures("_wide")
def test_a_type_that_needs_an_importance_matrix_is_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", n_layer=1)
    stack = write_stack(base, tmp_path)
    with pytest.raises(AdapterError, match="importance matrix"):
        merge(base, parts_of(stack), base.with_name("out.gguf"), type=GgmlType.IQ2_XXS)
    assert not base.with_name("out.gguf").exists()


def test_the_bytes_are_the_same_whatever_the_number_of_threads(
    base: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_blocks, "BLOCK_VALUES", 256)
    parts = parts_of(stack)
    written = [
        merge(base, parts, base.with_name(f"{n}.gguf"), type=GgmlType.Q4_0, n_threads=n)
        for n in (1, 2, 5)
    ]
    contents = {merged.path.read_bytes() for merged in written}
    assert len(contents) == 1
    assert len({merged.tensors for merged in written}) == 1


def test_small_and_large_blocks_hold_the_same(
    base: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = merge(base, parts_of(stack), base.with_name("whole.gguf"))
    monkeypatch.setattr(merge_blocks, "BLOCK_VALUES", 200)
    cut = merge(base, parts_of(stack), base.with_name("cut.gguf"))
    one, other = tensors_of(whole.path), tensors_of(cut.path)
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, atol=1e-6)


def test_a_stack_of_adapters_at_scale_zero_is_nothing_to_merge(base: Path, stack: Stack) -> None:
    with pytest.raises(AdapterError, match="nothing to merge"):
        merge(base, parts_of([(path, 0.0) for path, _ in stack]), base.with_name("out.gguf"))


def test_norms_of_an_adapter_are_left_out_and_said(base: Path, tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", base, targets=["attn_q"])
    raw = RawGguf.read(lora)
    raw.tensors["blk.0.attn_norm.weight"] = tensor_of(np.full(64, 2.0, dtype=np.float32))
    merged = merge(base, parts_of([(raw.write(lora), 1.0)]), tmp_path / "out.gguf")
    assert "blk.0.attn_norm.weight" in merged.notices[0]
    name = "blk.0.attn_norm.weight"
    assert bytes_of(merged.path)[name] == bytes_of(base)[name]


def test_an_adapter_with_invocation_tokens_acts_everywhere_and_that_is_said(
    base: Path, tmp_path: Path
) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", base, targets=["attn_q"])
    raw = RawGguf.read(lora)
    tokens = RawValue(ValueType.ARRAY, [1, 2], ValueType.UINT32)
    raw.metadata["adapter.alora.invocation_tokens"] = tokens
    merged = merge(base, parts_of([(raw.write(lora), 1.0)]), tmp_path / "out.gguf")
    assert merged.notices[0].endswith(
        " acts only after its invocation tokens, but everywhere once it is merged."
    )


@pytest.mark.parametrize("kind", ["other architecture", "absent", "other size", "not finite"])
def test_an_adapter_that_does_not_fit_is_refused(base: Path, tmp_path: Path, kind: str) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", base, targets=["attn_q"])
    raw = RawGguf.read(lora)
    name = "blk.0.attn_q.weight.lora_b"
    if kind == "other architecture":
        qwen = write_base(tmp_path / "qwen.gguf", architecture="qwen2")
        raw = RawGguf.read(write_adapter(lora, qwen))
    elif kind == "absent":
        for half in ("lora_a", "lora_b"):
            raw.tensors[f"blk.7.attn_q.weight.{half}"] = raw.tensors[f"blk.0.attn_q.weight.{half}"]
    elif kind == "other size":
        raw.replace_array(name, np.zeros((32, 4), dtype=np.float32))
    else:
        raw.replace_array(name, np.full((64, 4), np.nan, dtype=np.float32))
    parts = parts_of([(raw.write(lora), 1.0)])
    with pytest.raises(AdapterError):
        merge(base, parts, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_a_base_that_scales_its_weights_apart_is_refused(base: Path, stack: Stack) -> None:
    raw = RawGguf.read(base)
    raw.replace_array("blk.0.attn_q.scale", np.ones(1, dtype=np.float32))
    with pytest.raises(AdapterError, match="apart from its weights"):
        merge(raw.write(base), parts_of(stack), base.with_name("out.gguf"))


def test_values_beyond_f16_are_refused_and_fit_into_bf16(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", dtype="f16")
    lora = write_adapter(tmp_path / "lora.gguf", base, scale_of_weights=1e6)
    with pytest.raises(AdapterError, match=r"beyond F16 \(65504\)"):
        merge(base, parts_of([(lora, 1.0)]), tmp_path / "out.gguf")
    assert merge(
        base, parts_of([(lora, 1.0)]), tmp_path / "out.gguf", type=GgmlType.BF16
    ).retained == pytest.approx(1.0, abs=1e-2)


def test_an_infinite_base_is_refused(base: Path, stack: Stack) -> None:
    raw = RawGguf.read(base)
    raw.replace_array("blk.0.attn_q.weight", np.full((64, 64), np.inf, dtype=np.float32))
    with pytest.raises(AdapterError, match="would hold NaN or infinity"):
        merge(raw.write(base), parts_of(stack), base.with_name("out.gguf"))


def test_an_adapter_is_no_base(base: Path, stack: Stack) -> None:
    with pytest.raises(BaseError, match="is an adapter"):
        merge(stack[0][0], parts_of(stack), base.with_name("out.gguf"))


def test_the_output_may_not_be_an_input_or_a_folder(base: Path, stack: Stack) -> None:
    before = base.read_bytes()
    pipe = base.with_name("pipe")
    os.mkfifo(pipe)
    for out in (base, stack[0][0], base.parent, pipe):
        with pytest.raises(EngineError, match=r"name (another|the)"):
            merge(base, parts_of(stack), out)
    assert base.read_bytes() == before
    assert pipe.is_fifo()


def test_a_full_disk_is_said_before_anything_is_written(
    base: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = merge_checks.shutil.disk_usage(base.parent)._replace(free=1000)
    monkeypatch.setattr(merge_checks.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EngineError, match=r"takes 0\.4 MB, but .* has 0\.0 MB left: free some"):
        merge(base, parts_of(stack), base.with_name("out.gguf"))
    assert parts_left(base.parent) == []


def test_progress_rises_to_one(base: Path, stack: Stack) -> None:
    told: list[tuple[str, float]] = []
    merge(
        base,
        parts_of(stack),
        base.with_name("out.gguf"),
        on_progress=lambda title, fraction: told.append((title, fraction)),
    )
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0.0
    assert fractions[-1] == 1.0
    assert told[0][0] == "reading base.gguf"
    assert 0.4 < next(fraction for title, fraction in told if title.startswith("merging")) < 0.8
    assert told[-1][0].startswith("merging ")


@pytest.mark.parametrize("n_asked", [1, 3, 10])
def test_a_cancelled_merge_leaves_nothing(base: Path, stack: Stack, n_asked: int) -> None:
    answers = iter([False] * n_asked)
    with pytest.raises(Cancelled):
        merge(
            base,
            parts_of(stack),
            base.with_name("out.gguf"),
            is_cancelled=lambda: next(answers, True),
        )
    assert not base.with_name("out.gguf").exists()
    assert parts_left(base.parent) == []


def test_an_interrupt_leaves_nothing(base: Path, stack: Stack) -> None:
    def interrupt(title: str, fraction: float) -> None:
        if fraction > 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(base, parts_of(stack), base.with_name("out.gguf"), on_progress=interrupt)
    assert not base.with_name("out.gguf").exists()
    assert parts_left(base.parent) == []


def test_an_adapter_that_changed_since_it_was_read_is_refused(base: Path, stack: Stack) -> None:
    adapter = read_adapter(stack[0][0])
    parts = parts_of(stack)
    write_adapter(adapter.file, base, seed=99, rank=2)
    with pytest.raises(EngineError, match="changed"):
        merge(base, parts, base.with_name("out.gguf"))
    assert not base.with_name("out.gguf").exists()


def test_a_base_that_changes_meanwhile_is_refused(base: Path, stack: Stack) -> None:
    def touch(title: str, fraction: float) -> None:
        if fraction > 0.9:
            os.utime(base, ns=(1, 1))

    with pytest.raises(EngineError, match="changed while being read"):
        merge(base, parts_of(stack), base.with_name("out.gguf"), on_progress=touch)
    assert not base.with_name("out.gguf").exists()


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    out = tmp_path / "[out].gguf"
    stale = tmp_path / f".[out].gguf.{'0' * 32}.part"
    stranger = tmp_path / ".[out].gguf.mine.part"
    for path in (stale, stranger):
        path.write_bytes(b"x")
    with new_file(out, "The file") as file:
        sweep_parts(out)
        assert not stale.exists()
        assert Path(str(file.name)).exists()
        file.write(b"whole")
    assert out.read_bytes() == b"whole"
    assert stranger.exists()
