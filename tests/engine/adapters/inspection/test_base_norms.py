"""Norms of a base's weights: numpy's, whatever the type, read once and stopped when asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.adapters.inspection import base_norms
from engine.adapters.inspection.base_norms import BaseNorms
from engine.errors import AdapterError, Cancelled, GgufError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import read_model_header
from engine.gguf.weights import Bytes, Floats, decoded
from engine.llama.quants import dequantized
from tests.support.dense_delta import tensors_of
from tests.support.split_base import write_split
from tests.support.tiny_models import Dtype, write_base

NAMES = ("blk.0.attn_q.weight", "blk.1.ffn_down.weight", "token_embd.weight")


class Counting:
    """Decodes, and counts the bytes."""

    def __init__(self, decode: Callable[[Bytes, GgmlType, int], Floats] = decoded) -> None:
        self.n_bytes = 0
        self._decode = decode

    def __call__(self, data: Bytes, type_: GgmlType, row_length: int) -> Floats:
        self.n_bytes += data.size
        return self._decode(data, type_, row_length)


@pytest.mark.parametrize("decode", [decoded, dequantized])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_norms_are_those_of_numpy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Dtype,
    n_threads: int,
    decode: Callable[[Bytes, GgmlType, int], Floats],
) -> None:
    monkeypatch.setattr(base_norms, "CHUNK_VALUES", 1000)  # several chunks, the last one short
    base = write_base(tmp_path / "base.gguf", dtype=dtype)
    found = BaseNorms(decode, n_threads).of(read_header(base), NAMES)
    weights = tensors_of(base)
    expected = {name: np.linalg.norm(weights[name]) for name in NAMES}
    assert found == pytest.approx(expected, rel=1e-6)


def test_norms_of_experts_and_of_a_split_base_are_of_all_of_it(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", architecture="mixtral")
    name = "blk.1.ffn_up_exps.weight"
    expected = pytest.approx({name: np.linalg.norm(tensors_of(base)[name])}, rel=1e-6)
    first = write_split(base, "parts", 3)[0]
    for path in (base, first):
        assert BaseNorms().of(read_model_header(path), [name]) == expected


def test_large_half_precision_numbers_do_not_overflow(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w.weight", np.full((2, 32), 60000.0, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert BaseNorms().of(read_header(path), ["w.weight"])["w.weight"] == pytest.approx(
        59968.0 * 8.0, rel=1e-3
    )


def test_only_what_is_asked_for_is_read_and_only_once(tmp_path: Path) -> None:
    header = read_header(write_base(tmp_path / "base.gguf"))
    decode = Counting()
    norms = BaseNorms(decode)
    first = norms.of(header, [NAMES[0], "blk.7.attn_q.weight"])
    assert list(first) == [NAMES[0]]
    assert decode.n_bytes == header.tensors[NAMES[0]].size_bytes
    again = norms.of(header, NAMES[:2])
    assert decode.n_bytes == sum(header.tensors[name].size_bytes for name in NAMES[:2])
    assert again[NAMES[0]] == first[NAMES[0]]


def test_another_base_is_read_anew(tmp_path: Path) -> None:
    norms = BaseNorms()
    first, second = (
        read_header(write_base(tmp_path / f"{seed}.gguf", seed=seed)) for seed in (1, 2)
    )
    one = norms.of(first, NAMES[:1])
    assert norms.of(second, NAMES[:1]) != one
    assert norms.of(first, NAMES[:1]) == one


def test_a_base_that_changed_is_refused(tmp_path: Path) -> None:
    path = write_base(tmp_path / "base.gguf")
    header = read_header(path)
    write_base(path, n_layer=3)
    with pytest.raises(GgufError, match="changed since its header was read"):
        BaseNorms().of(header, NAMES)


def test_a_base_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_base(tmp_path / "base.gguf")

    def decode(data: Bytes, type_: GgmlType, row_length: int) -> Floats:
        path.touch()
        return decoded(data, type_, row_length)

    with pytest.raises(GgufError, match="changed while being read"):
        BaseNorms(decode).of(read_header(path), NAMES)


def test_a_cancelled_reading_keeps_the_tensors_it_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_norms, "CHUNK_VALUES", 1000)
    header = read_header(write_base(tmp_path / "base.gguf"))
    decode, fractions = Counting(), list[float]()
    norms = BaseNorms(decode)
    with pytest.raises(Cancelled):
        norms.of(
            header, NAMES, on_fraction=fractions.append, is_cancelled=lambda: len(fractions) > 30
        )
    assert fractions == sorted(fractions)
    assert 0.0 < fractions[-1] < 1.0
    before = decode.n_bytes
    whole = norms.of(header, NAMES)
    assert whole == pytest.approx(BaseNorms().of(header, NAMES))
    total = sum(header.tensors[name].size_bytes for name in NAMES)
    assert decode.n_bytes - before < total, "the first tensor was read again"


def test_weights_that_cannot_be_decoded_are_left_out(tmp_path: Path) -> None:
    header = read_header(write_base(tmp_path / "base.gguf"))

    def decode(data: Bytes, type_: GgmlType, row_length: int) -> Floats:
        if row_length == 128:  # ffn_down
            raise AdapterError("There is no way.")
        return decoded(data, type_, row_length)

    assert set(BaseNorms(decode).of(header, NAMES)) == {NAMES[0], NAMES[2]}


def test_a_base_without_the_tensors_costs_nothing(tmp_path: Path) -> None:
    header = read_header(write_base(tmp_path / "base.gguf"))
    gone: GgufHeader = replace(header, part_stamps={tmp_path / "gone.gguf": header.stamp})
    assert BaseNorms().of(gone, ["nothing"]) == {}
