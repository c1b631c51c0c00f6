"""A merged file says what it was made of, and otherwise what its base said."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.merging.merge import merge
from engine.adapters.merging.metadata import MERGE_PREFIX, MergedOf, merged_of
from engine.adapters.scaled_adapter import FusePart
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from engine.gguf.metadata import ValueType
from tests.support.gguf_raw import RawGguf, RawValue, gguf_bytes, values_of
from tests.support.merging import bytes_of, parts_of, write_quantised, write_stack
from tests.support.split_base import write_split
from tests.support.tiny_models import write_adapter, write_base

FILE_TYPE = "general.file_type"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf")


@pytest.fixture
def parts(base: Path, tmp_path: Path) -> list[FusePart]:
    return parts_of(write_stack(base, tmp_path))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metadata(path: Path) -> dict[str, RawValue]:
    return RawGguf.read(path).metadata


def with_file_type(path: Path, number: int) -> Path:
    raw = RawGguf.read(path)
    raw.metadata[FILE_TYPE] = RawValue(ValueType.UINT32, number)
    return raw.write(path)


def test_the_bases_hash_and_the_stack_are_named(
    base: Path, parts: list[FusePart], tmp_path: Path
) -> None:
    out = merge(base, parts, tmp_path / "out.gguf", names=["one", "two"]).path
    found = merged_of(read_header(out))
    assert found == MergedOf(
        base_sha256s=(sha256(base),),
        base_name="Tiny",
        sha256s=(sha256(tmp_path / "lora-4.gguf"), sha256(tmp_path / "lora-8.gguf")),
        names=("one", "two"),
        scales=(0.5, float(np.float32(-0.7))),
    )
    assert merged_of(read_header(base)) is None


def test_everything_else_stands_as_it_was_and_where_it_was(
    base: Path, parts: list[FusePart], tmp_path: Path
) -> None:
    before = metadata(base)
    after = metadata(merge(base, parts, tmp_path / "out.gguf").path)
    added = [key for key in after if key not in before]
    assert all(key.startswith(MERGE_PREFIX) for key in added)
    assert list(after) == [*before, *added]
    assert [key for key in before if after[key] != before[key]] == ["general.name"]
    assert after["general.name"].value == "Tiny + lora-4 0.50 + lora-8 -0.70"
    assert "<|im_start|>" in after["tokenizer.chat_template"].value


def test_parts_at_scale_zero_are_not_named(base: Path, tmp_path: Path) -> None:
    (first, _), (second, _) = write_stack(base, tmp_path)
    parts = parts_of([(first, 0.0), (second, 1.0)])
    out = merge(base, parts, tmp_path / "out.gguf", names=["off", "on"]).path
    found = merged_of(read_header(out))
    assert found is not None
    assert (found.names, found.scales) == (("on",), (1.0,))


def test_each_part_of_a_split_base_is_named(base: Path, parts: list[FusePart]) -> None:
    paths = write_split(base, "split", 3)
    found = merged_of(read_header(merge(paths[0], parts, base.with_name("out.gguf")).path))
    assert found is not None
    assert found.base_sha256s == tuple(map(sha256, paths))


def test_a_file_of_the_model_store_is_named_by_its_name(base: Path, parts: list[FusePart]) -> None:
    blob = base.rename(base.with_name(f"sha256-{'ab' * 32}"))
    found = merged_of(read_header(merge(blob, parts, base.with_name("out.gguf")).path))
    assert found is not None
    assert found.base_sha256s == ("ab" * 32,)


def test_what_a_base_had_been_merged_of_is_kept(
    base: Path, parts: list[FusePart], tmp_path: Path
) -> None:
    first = merge(base, parts[:1], tmp_path / "first.gguf").path
    second = merge(first, parts[1:], tmp_path / "second.gguf").path
    third = merge(second, parts[:1], tmp_path / "third.gguf").path
    found = values_of(metadata(third))
    assert found[f"{MERGE_PREFIX}base.sha256"] == [sha256(second)]
    assert found[f"{MERGE_PREFIX}earlier.base.sha256"] == [sha256(first)]
    assert found[f"{MERGE_PREFIX}earlier.earlier.base.sha256"] == [sha256(base)]
    assert found[f"{MERGE_PREFIX}earlier.stack.names"] == ["lora-8"]
    assert found["general.name"] == "Tiny + lora-4 0.50 + lora-8 -0.70 + lora-4 0.50"


def test_the_file_type_changes_with_the_type_of_most_weights(base: Path, tmp_path: Path) -> None:
    quantised = with_file_type(write_quantised(base, tmp_path / "q8.gguf", GgmlType.Q8_0), 7)
    one = write_adapter(tmp_path / "one.gguf", base, targets=["attn_q"])
    few = merge(quantised, parts_of([(one, 1.0)]), tmp_path / "few.gguf")
    assert metadata(few.path)[FILE_TYPE].value == 7
    most = merge(quantised, parts_of(write_stack(base, tmp_path)), tmp_path / "most.gguf")
    assert metadata(most.path)[FILE_TYPE].value == 1


def test_a_mixture_is_still_called_one_where_its_type_stays(base: Path, tmp_path: Path) -> None:
    small = with_file_type(write_quantised(base, tmp_path / "small.gguf", GgmlType.Q5_0), 14)
    one = write_adapter(tmp_path / "one.gguf", base, targets=["attn_q"])
    assert (
        metadata(merge(small, parts_of([(one, 1.0)]), tmp_path / "out.gguf").path)[FILE_TYPE].value
        == 14
    )


def test_quantising_names_the_version_of_the_quantisation(
    base: Path, parts: list[FusePart], tmp_path: Path
) -> None:
    out = merge(base, parts, tmp_path / "out.gguf", type=GgmlType.Q8_0)
    assert metadata(out.path)["general.quantization_version"].value == 2
    assert metadata(out.path)[FILE_TYPE].value == 7


def test_a_base_with_another_alignment_is_written_with_the_usual_one(
    base: Path, parts: list[FusePart], tmp_path: Path
) -> None:
    raw = RawGguf.read(base)
    raw.metadata["general.alignment"] = RawValue(ValueType.UINT32, 256)
    wide = tmp_path / "wide.gguf"
    wide.write_bytes(
        gguf_bytes(tuple(raw.metadata.items()), tuple(raw.tensors.items()), alignment=256)
    )
    out = merge(wide, parts, tmp_path / "out.gguf").path
    assert "general.alignment" not in metadata(out)
    assert bytes_of(out) == bytes_of(merge(base, parts, tmp_path / "other.gguf").path)


def test_a_base_without_a_name_is_called_after_its_file(base: Path, parts: list[FusePart]) -> None:
    raw = RawGguf.read(base)
    del raw.metadata["general.name"]
    out = merge(raw.write(base), parts, base.with_name("out.gguf")).path
    assert metadata(out)["general.name"].value == "base + lora-4 0.50 + lora-8 -0.70"
