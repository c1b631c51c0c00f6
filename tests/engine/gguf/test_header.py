"""Sound GGUF headers are read as gguf-py reads them, large ones without their arrays."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from engine.errors import GgufError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.metadata import GgufArray, ValueType
from tests.support.gguf_large import peak_memory, write_large_header
from tests.support.gguf_raw import RawGguf, RawTensor, RawValue, gguf_bytes, text
from tests.support.tiny_models import CHATML, Architecture, Dtype, vocabulary, write_base

ONE_OF_EACH = {
    ValueType.UINT8: 255,
    ValueType.INT8: -128,
    ValueType.UINT16: 65_535,
    ValueType.INT16: -32_768,
    ValueType.UINT32: 2**32 - 1,
    ValueType.INT32: -(2**31),
    ValueType.FLOAT32: 0.5,
    ValueType.BOOL: True,
    ValueType.UINT64: 2**64 - 1,
    ValueType.INT64: -(2**63),
    ValueType.FLOAT64: 1e300,
    ValueType.STRING: "naïve ✓",
}


def plain(header: GgufHeader) -> dict[str, object]:
    """Return the metadata with arrays read."""
    return {
        key: list(value.read()) if isinstance(value, GgufArray) else value
        for key, value in header.metadata.items()
    }


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma", "mixtral"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_it_reads_what_gguf_py_reads(
    tmp_path: Path, architecture: Architecture, dtype: Dtype
) -> None:
    path = write_base(tmp_path / "base.gguf", architecture=architecture, dtype=dtype)
    header = read_header(path)
    reader = gguf.GGUFReader(path)
    expected = {
        key: part.contents() for key, part in reader.fields.items() if not key.startswith("GGUF.")
    }
    assert plain(header) == expected
    assert header.version == 3
    assert header.data_offset == reader.data_offset
    assert header.file_size_bytes == path.stat().st_size
    assert list(header.tensors) == [tensor.name for tensor in reader.tensors]
    for theirs in reader.tensors:
        ours = header.tensors[theirs.name]
        assert ours.shape == tuple(theirs.shape)
        assert ours.type == theirs.tensor_type
        assert ours.offset == theirs.data_offset
        assert ours.size_bytes == theirs.n_bytes
        assert ours.path == path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_every_value_type_is_read_alone_and_in_an_array(
    tmp_path: Path, version: int, kind: ValueType
) -> None:
    value = ONE_OF_EACH[kind]
    path = tmp_path / "values.gguf"
    array = RawValue(ValueType.ARRAY, [value, value], kind)
    metadata = [("one", RawValue(kind, value)), ("two", array), ("last", text("end"))]
    path.write_bytes(gguf_bytes(metadata, version=version))
    header = read_header(path)
    assert plain(header) == {"one": value, "two": [value, value], "last": "end"}
    assert header.types == {"one": kind, "two": ValueType.ARRAY, "last": ValueType.STRING}
    assert header.version == version


def test_the_typed_getters_give_none_for_another_type(tmp_path: Path) -> None:
    metadata = [
        ("text", text("a")),
        ("whole", RawValue(ValueType.UINT16, 3)),
        ("part", RawValue(ValueType.FLOAT32, 0.25)),
        ("truth", RawValue(ValueType.BOOL, True)),
        ("list", RawValue(ValueType.ARRAY, [1], ValueType.INT32)),
    ]
    path = tmp_path / "typed.gguf"
    path.write_bytes(gguf_bytes(metadata))
    header = read_header(path)
    keys = ["text", "whole", "part", "truth", "list", "absent"]
    assert [header.text(key) for key in keys] == ["a", None, None, None, None, None]
    assert [header.integer(key) for key in keys] == [None, 3, None, None, None, None]
    assert [header.number(key) for key in keys] == [None, 3.0, 0.25, None, None, None]


def test_arrays_are_read_on_demand(tmp_path: Path) -> None:
    header = read_header(write_base(tmp_path / "base.gguf"))
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    assert tokens.element_type is ValueType.STRING
    assert len(tokens) == len(vocabulary())
    assert tokens.read() == tuple(vocabulary())
    assert header.text("tokenizer.chat_template") == CHATML


def test_an_array_of_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path = write_base(tmp_path / "base.gguf")
    tokens = read_header(path).metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(GgufError, match="changed while being read"):
        tokens.read()
    path.unlink()
    with pytest.raises(GgufError, match="went away"):
        tokens.read()


def test_a_large_header_is_read_without_its_arrays(tmp_path: Path) -> None:
    path = write_large_header(tmp_path / "large.gguf", n_tokens=40_000, n_merges=60_000)
    with peak_memory() as peak:
        header = read_header(path)
    assert len(header.tensors) == 288
    merges = header.metadata["tokenizer.ggml.merges"]
    assert isinstance(merges, GgufArray)
    assert len(merges) == 60_000
    assert path.stat().st_size > 2_000_000
    assert peak.n_bytes < 1_000_000  # one buffer of 256 KiB and the records
    reader = gguf.GGUFReader(write_large_header(path, n_tokens=300, n_merges=300))
    expected = reader.fields["tokenizer.ggml.merges"].contents()
    merges = read_header(path).metadata["tokenizer.ggml.merges"]
    assert isinstance(merges, GgufArray)
    assert list(merges.read()) == expected


@pytest.mark.parametrize("length", [0, 1, 255, 256 * 1024, 1024 * 1024 + 3])
def test_strings_of_any_length_are_passed_over_and_read(tmp_path: Path, length: int) -> None:
    strings = ["a" * length, "", "ü", "b" * length]
    path = tmp_path / "strings.gguf"
    array = RawValue(ValueType.ARRAY, strings, ValueType.STRING)
    path.write_bytes(gguf_bytes([("strings", array), ("after", text("found"))]))
    header = read_header(path)
    assert plain(header) == {"strings": strings, "after": "found"}


@pytest.mark.parametrize("alignment", [1, 8, 32, 4096])
def test_the_alignment_of_the_file_is_heeded(tmp_path: Path, alignment: int) -> None:
    metadata = [("general.alignment", RawValue(ValueType.UINT32, alignment))]
    tensors = [(name, RawTensor((3,), GgmlType.F32, b"abcdefghijkl")) for name in ("x", "y")]
    data = gguf_bytes(metadata, tensors, alignment=alignment)
    path = tmp_path / "aligned.gguf"
    path.write_bytes(data)
    for tensor in read_header(path).tensors.values():
        assert data[tensor.offset :][: tensor.size_bytes] == b"abcdefghijkl"
        assert tensor.offset % alignment == 0


def test_the_padding_after_the_last_tensor_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "unpadded.gguf"
    path.write_bytes(gguf_bytes(tensors=[("x", RawTensor((1,), 0, b"abcd"))])[:-28])
    assert read_header(path).tensors["x"].size_bytes == 4


def test_values_that_are_not_utf8_are_made_readable(tmp_path: Path) -> None:
    path = tmp_path / "latin.gguf"
    path.write_bytes(gguf_bytes([("general.name", text(b"caf\xe9"))]))
    assert read_header(path).text("general.name") == "caf\ufffd"


def test_shapes_are_given_as_four_numbers_too(tmp_path: Path) -> None:
    raw = RawGguf(tensors={"x": RawTensor((2, 3), 0, bytes(24)), "one": RawTensor((), 0, bytes(4))})
    tensors = read_header(raw.write(tmp_path / "shapes.gguf")).tensors
    assert tensors["x"].shape == (2, 3)
    assert tensors["x"].ne == (2, 3, 1, 1)
    assert tensors["one"].ne == (1, 1, 1, 1)
