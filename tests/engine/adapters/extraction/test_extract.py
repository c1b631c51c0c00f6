"""An extracted adapter is the difference of two models, and says what of it is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.checking.check import require_fit
from engine.adapters.conversion.identity import base_fingerprint
from engine.adapters.extraction.difference import Obstacle
from engine.adapters.extraction.extract import (
    BASE_FINGERPRINT_KEY,
    KEPT_KEY,
    Extracted,
    extract,
)
from engine.adapters.extraction.notices import notices
from engine.adapters.merging.merge import merge
from engine.errors import AdapterError, BaseError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from engine.gguf.metadata import ValueType
from engine.gguf.model_header import require_base
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.gguf_raw import RawGguf, RawTensor, RawValue, text
from tests.support.merging import parts_of
from tests.support.split_base import write_split
from tests.support.tiny_models import Dtype, write_adapter, write_base

Doubles = NDArray[np.float64]
TARGETS = ("attn_q", "attn_output", "ffn_down_exps", "token_embd")


def changed(base: Path, out: Path, changes: Mapping[str, Doubles]) -> Path:
    """Write a model whose tensors are those of `base` with `changes` added, float32."""
    raw = RawGguf.read(base)
    tensors = tensors_of(base)
    for name, delta in changes.items():
        raw.replace_array(name, (tensors[name] + delta).astype(np.float32))
    return raw.write(out)


def difference(tuned: Path, base: Path, out: Path, rank: int, **options: Any) -> Extracted:
    result = extract(require_base(tuned), require_base(base), out, rank, **options)
    require_fit(out, base)
    return result


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf", architecture="mixtral")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return write_adapter(tmp_path / "adapter.gguf", base, rank=5, targets=TARGETS)


def test_a_baked_adapter_comes_back_whole(base: Path, adapter: Path, tmp_path: Path) -> None:
    deltas = deltas_of([(adapter, 0.8)])
    tuned = changed(base, tmp_path / "tuned.gguf", deltas)
    found = difference(tuned, base, tmp_path / "out.gguf", 5, type_=GgmlType.F32)
    recovered = deltas_of([(found.path, 1.0)])
    assert set(recovered) == set(deltas)
    for name, delta in deltas.items():
        np.testing.assert_allclose(recovered[name], delta, rtol=0, atol=1e-5)
    assert found.energy.share == pytest.approx(1.0, abs=1e-7)
    assert {module.rank for module in found.modules} == {5}
    assert found.left_out == ()
    assert found.n_equal == len(read_header(base).tensors) - len(deltas)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_share_is_that_of_numpys_decomposition(
    rank: int, base: Path, adapter: Path, tmp_path: Path
) -> None:
    deltas = deltas_of([(adapter, 1.0)])
    tuned = changed(base, tmp_path / "tuned.gguf", deltas)
    found = difference(tuned, base, tmp_path / "out.gguf", rank, type_=GgmlType.F32)
    kept = total = 0.0
    for module in found.modules:
        u, s, vt = np.linalg.svd(deltas[module.target], full_matrices=False)
        squares = s**2
        share = squares[..., :rank].sum() / squares.sum()
        assert module.energy.share == pytest.approx(share, abs=1e-5)
        kept, total = kept + squares[..., :rank].sum(), total + squares.sum()
        best = (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]
        np.testing.assert_allclose(
            deltas_of([(found.path, 1.0)])[module.target], best, rtol=0, atol=1e-4
        )
    assert found.energy.share == pytest.approx(kept / total, abs=1e-5)
    header = read_header(found.path)
    assert header.number(KEPT_KEY) == pytest.approx(found.energy.share, abs=1e-6)
    assert f"{found.energy.share * 100:.1f} % of the difference" in (
        header.text("general.description") or ""
    )


@pytest.mark.parametrize(("ours", "theirs"), [("f16", "f32"), ("q8_0", "f32"), ("q8_0", "q8_0")])
def test_models_may_be_stored_in_different_types(
    ours: Dtype, theirs: Dtype, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base.gguf", dtype=ours)
    exact = write_base(tmp_path / "exact.gguf")
    adapter = write_adapter(tmp_path / "a.gguf", exact, rank=4, targets=["ffn_up"])
    tuned = changed(exact, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    if theirs == "q8_0":
        raw = RawGguf.read(tuned)
        for name in list(deltas_of([(adapter, 1.0)])):
            values = tensors_of(tuned)[name].astype(np.float32)
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            raw.tensors[name] = RawTensor(values.shape[::-1], GgmlType.Q8_0, packed.tobytes())
        tuned = raw.write(tmp_path / "quantised.gguf")
    found = difference(tuned, base, tmp_path / "out.gguf", 4, type_=GgmlType.F32)
    shares = {module.target: module.energy.share for module in found.modules}
    assert 0.99 < shares["blk.0.ffn_up.weight"] < 1.0
    expected = tensors_of(tuned)["blk.0.ffn_up.weight"] - tensors_of(base)["blk.0.ffn_up.weight"]
    lost = deltas_of([(found.path, 1.0)])["blk.0.ffn_up.weight"] - expected
    share = 1.0 - float((lost**2).sum() / (expected**2).sum())
    assert share == pytest.approx(shares["blk.0.ffn_up.weight"], abs=1e-5)


def test_split_models_are_read_whole(base: Path, adapter: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    difference(tuned, base, tmp_path / "whole.gguf", 5)
    halves = write_split(tuned, "halves", 2), write_split(base, "thirds", 3)
    difference(halves[0][0], halves[1][0], tmp_path / "split.gguf", 5)
    assert deltas_equal(tmp_path / "whole.gguf", tmp_path / "split.gguf")


def deltas_equal(one: Path, other: Path) -> bool:
    first, second = tensors_of(one), tensors_of(other)
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def test_norms_that_differ_count_as_lost(base: Path, adapter: Path, tmp_path: Path) -> None:
    deltas = deltas_of([(adapter, 1.0)])
    bump = np.full(64, 0.5)
    norms = {"output_norm.weight": bump, "blk.0.attn_norm.weight": bump}
    tuned = changed(base, tmp_path / "tuned.gguf", {**deltas, **norms})
    found = difference(tuned, base, tmp_path / "out.gguf", 5)
    (lost,) = found.left_out
    assert (lost.obstacle, lost.names) == (Obstacle.VECTOR, tuple(norms))
    assert lost.squared_norm == pytest.approx(2 * 64 * 0.25)
    total = sum(float((delta**2).sum()) for delta in deltas.values())
    assert found.energy.share == pytest.approx(total / (total + 32.0), abs=1e-5)


def test_embeddings_that_the_output_shares_count_as_lost(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", is_tied=True)
    adapter = write_adapter(tmp_path / "a.gguf", base, targets=["token_embd", "attn_v"])
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    found = difference(tuned, base, tmp_path / "out.gguf", 4)
    (lost,) = found.left_out
    assert (lost.obstacle, lost.names) == (Obstacle.TIED, ("token_embd.weight",))
    assert {module.target for module in found.modules} == {
        "blk.0.attn_v.weight",
        "blk.1.attn_v.weight",
    }


def test_more_tokens_are_left_out_and_told(base: Path, adapter: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    raw = RawGguf.read(tuned)
    for name in ("token_embd.weight", "output.weight"):
        values = tensors_of(tuned)[name].astype(np.float32)
        raw.replace_array(name, np.vstack([values, values[:2]]))
    key = "tokenizer.ggml.tokens"
    tokens = [*raw.metadata[key].value, "<one more>", "<and another>"]
    raw.metadata[key] = replace(raw.metadata[key], value=tokens)
    raw.write(tuned)
    found = difference(tuned, base, tmp_path / "out.gguf", 5)
    (lost,) = found.left_out
    assert (lost.obstacle, set(lost.names)) == (
        Obstacle.SHAPE,
        {"token_embd.weight", "output.weight"},
    )
    (sentence,) = notices(require_base(base), require_base(tuned), found.modules)
    assert "vocabularies differ" in sentence


def test_a_tensor_of_one_model_alone_is_told(base: Path, adapter: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    raw = RawGguf.read(tuned)
    del raw.tensors["blk.1.ffn_norm.weight"]
    raw.write(tuned)
    found = difference(tuned, base, tmp_path / "out.gguf", 5)
    (lost,) = found.left_out
    assert (lost.obstacle, lost.names) == (Obstacle.ABSENT, ("blk.1.ffn_norm.weight",))


def test_rounding_of_what_differs_is_told(tmp_path: Path) -> None:
    exact = write_base(tmp_path / "exact.gguf")
    rounded = write_base(tmp_path / "rounded.gguf", dtype="q8_0")
    found = difference(rounded, exact, tmp_path / "one.gguf", 4)
    (sentence,) = notices(require_base(exact), require_base(rounded), found.modules)
    assert sentence.startswith("The tuned model is quantised where the models differ: its rounding")
    found = difference(exact, rounded, tmp_path / "other.gguf", 4)
    (sentence,) = notices(require_base(rounded), require_base(exact), found.modules)
    assert "unless the tuned model was made from this very file" in sentence


def test_other_settings_are_told(base: Path, adapter: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    raw = RawGguf.read(tuned)
    raw.metadata["llama.rope.freq_base"] = RawValue(ValueType.FLOAT32, 5e5)
    raw.write(tuned)
    found = difference(tuned, base, tmp_path / "out.gguf", 5)
    (sentence,) = notices(require_base(base), require_base(tuned), found.modules)
    assert "setting 'llama.rope.freq_base', which an adapter cannot change" in sentence


def test_equal_models_say_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(
        AdapterError, match="has the weights of the base: there is nothing to extract"
    ):
        extract(require_base(base), require_base(base), tmp_path / "out.gguf", 4)
    assert notices(require_base(base), require_base(base), []) == ()
    assert sorted(tmp_path.iterdir()) == [base]


@pytest.mark.parametrize("dtype", ["f32", "q8_0"])
def test_a_merged_model_gives_its_stack_back(dtype: Dtype, tmp_path: Path) -> None:
    """The base's rounding cancels out: the merge started from the very same numbers."""
    base = write_base(tmp_path / "base.gguf", dtype=dtype)
    stack = [
        (write_adapter(tmp_path / "one.gguf", base, rank=3, seed=1), 0.7),
        (write_adapter(tmp_path / "two.gguf", base, rank=2, seed=2, targets=["attn_v"]), -0.5),
    ]
    parts = parts_of(stack)
    merged = tmp_path / "merged.gguf"
    merge(base, parts, merged, names=["one", "two"])
    found = difference(merged, base, tmp_path / "out.gguf", 5, type_=GgmlType.F32)
    expected, recovered = deltas_of(stack), deltas_of([(found.path, 1.0)])
    assert set(recovered) == set(expected)
    for name, delta in expected.items():
        # merged tensors of a quantised base are F16, whose rounding stays within 2**-11
        atol = 1e-5 if dtype == "f32" else 2e-3
        np.testing.assert_allclose(recovered[name], delta, rtol=0, atol=atol)
    assert found.energy.share > 0.9999
    told = notices(require_base(base), require_base(merged), found.modules)
    assert told == (
        "The tuned model was made by merging one 0.70 + two -0.50 into this very base.",
    )
    other = write_base(tmp_path / "other.gguf", dtype=dtype, seed=9)
    told = notices(require_base(other), require_base(merged), found.modules)
    assert told[0] == "The tuned model was made by merging one 0.70 + two -0.50 into Tiny."
    assert len(told) == (1 if dtype == "f32" else 2)


def test_a_difference_in_norms_alone_is_refused(base: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", {"output_norm.weight": np.ones(64)})
    with pytest.raises(AdapterError, match=r"only in what no adapter can hold \(1 vectors"):
        extract(require_base(tuned), require_base(base), tmp_path / "out.gguf", 4)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (lambda path: write_base(path, architecture="gemma"), "has the architecture 'gemma'"),
        (lambda path: write_base(path, n_layer=3), "has block_count 3, but the base 2"),
    ],
)
def test_models_of_another_kind_are_refused(
    other: Callable[[Path], Path], sentence: str, base: Path, tmp_path: Path
) -> None:
    tuned = require_base(other(tmp_path / "tuned.gguf"))
    with pytest.raises(BaseError, match=re.escape(sentence)):
        extract(tuned, require_base(base), tmp_path / "out.gguf", 4)


def test_numbers_that_are_not_finite_are_refused(base: Path, tmp_path: Path) -> None:
    hole = np.zeros((64, 64))
    hole[3, 4] = np.nan
    tuned = changed(base, tmp_path / "tuned.gguf", {"blk.1.attn_q.weight": hole})
    with pytest.raises(BaseError, match=r"NaN or infinity in 'blk\.1\.attn_q\.weight'"):
        extract(require_base(tuned), require_base(base), tmp_path / "out.gguf", 4)


def test_the_file_names_its_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    for path, name in ((base, "Plain"), (tuned, "Tuned")):
        raw = RawGguf.read(path)
        raw.metadata |= {"general.name": text(name), "general.repo_url": text(f"{name}'s place")}
        raw.write(path)
    header = read_header(difference(tuned, base, tmp_path / "out.gguf", 5).path)
    assert header.text("general.name") == "Tuned as adapter"
    assert header.text("general.base_model.0.name") == "Plain"
    assert header.text("general.base_model.0.repo_url") == "Plain's place"
    assert header.text(BASE_FINGERPRINT_KEY) == base_fingerprint(require_base(base))


def test_nothing_is_left_of_what_was_given_up(base: Path, adapter: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))

    def give_up(_tensor: str, fraction: float) -> None:
        if fraction > 0.8:
            raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        difference(tuned, base, tmp_path / "out.gguf", 4, on_progress=give_up)
    assert sorted(tmp_path.iterdir()) == before


def test_equal_models_give_equal_bytes(base: Path, adapter: Path, tmp_path: Path) -> None:
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    for name in ("1.gguf", "2.gguf"):
        difference(tuned, base, tmp_path / name, 3)
    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "2.gguf").read_bytes()
