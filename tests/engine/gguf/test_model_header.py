"""A split model is read as one; parts that are missing or do not belong together are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import GgufError
from engine.gguf.header import read_header
from engine.gguf.metadata import ValueType
from engine.gguf.model_header import read_model_header, require_base
from tests.support.gguf_raw import RawGguf, RawValue
from tests.support.tiny_models import write_base

N_PARTS = 3


def shard(number: int, count: int = N_PARTS) -> str:
    return f"base-{number:05d}-of-{count:05d}.gguf"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_base(tmp_path / "whole.gguf")


@pytest.fixture
def parts(whole: Path) -> list[Path]:
    """Split the base as llama-gguf-split does: the metadata goes to the first part."""
    raw = RawGguf.read(whole)
    names = list(raw.tensors)
    paths = []
    for number in range(N_PARTS):
        part = RawGguf(dict(raw.metadata) if number == 0 else {})
        part.metadata["split.no"] = RawValue(ValueType.UINT16, number)
        part.metadata["split.count"] = RawValue(ValueType.UINT16, N_PARTS)
        part.metadata["split.tensors.count"] = RawValue(ValueType.INT32, len(names))
        part.tensors = {name: raw.tensors[name] for name in names[number::N_PARTS]}
        paths.append(part.write(whole.with_name(shard(number + 1))))
    return paths


def test_the_tensors_of_all_parts_are_read_with_their_files(whole: Path, parts: list[Path]) -> None:
    merged, single = read_model_header(parts[0]), read_header(whole)
    assert merged.tensors.keys() == single.tensors.keys()
    for name, tensor in merged.tensors.items():
        assert tensor.shape == single.tensors[name].shape
        assert tensor.path in parts
        with tensor.path.open("rb") as file, whole.open("rb") as whole_file:
            file.seek(tensor.offset)
            whole_file.seek(single.tensors[name].offset)
            assert file.read(tensor.size_bytes) == whole_file.read(tensor.size_bytes)
    assert merged.architecture == "llama"
    assert merged.file_size_bytes == sum(part.stat().st_size for part in parts)
    assert require_base(parts[0]) == merged


def test_a_model_in_one_file_is_read_as_it_is(whole: Path) -> None:
    assert read_model_header(whole) == read_header(whole)


def test_a_missing_part_is_named(parts: list[Path]) -> None:
    parts[1].unlink()
    with pytest.raises(GgufError, match=f"cannot be used: {shard(2)} does not exist"):
        read_model_header(parts[0])


def test_a_later_part_is_refused_with_the_name_of_the_first(parts: list[Path]) -> None:
    with pytest.raises(GgufError, match=f"not the first part .* name .*{shard(1)}"):
        read_model_header(parts[2])


def test_a_part_under_another_name_is_refused(parts: list[Path]) -> None:
    renamed = parts[0].rename(parts[0].with_name("base.gguf"))
    with pytest.raises(GgufError, match="without the name of one"):
        read_model_header(renamed)


def test_a_part_that_is_another_is_refused(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(GgufError, match="is not part 2 of 3"):
        read_model_header(parts[0])


def test_a_part_of_another_version_is_refused(parts: list[Path]) -> None:
    raw = RawGguf.read(parts[1])
    lost = next(iter(raw.tensors))
    del raw.tensors[lost]
    raw.write(parts[1])
    with pytest.raises(GgufError, match=r"has 20 instead of 21 tensors in its 3 parts"):
        read_model_header(parts[0])
    raw.tensors["output_norm.weight"] = RawGguf.read(parts[0]).tensors["token_embd.weight"]
    raw.tensors["token_embd.weight"] = raw.tensors["output_norm.weight"]
    raw.write(parts[1])
    with pytest.raises(GgufError, match=r"has the tensor .token_embd\.weight. in two parts"):
        read_model_header(parts[0])


def test_an_absurd_number_of_parts_is_refused(whole: Path) -> None:
    raw = RawGguf.read(whole)
    raw.metadata["split.count"] = RawValue(ValueType.UINT16, 65_535)
    with pytest.raises(GgufError, match="split over 65535 files"):
        read_model_header(raw.write(whole))
