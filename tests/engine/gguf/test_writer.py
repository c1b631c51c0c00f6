"""Files written front to back are read by gguf-py, and are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.errors import EngineError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from engine.gguf.writer import (
    Slot,
    bytes_field,
    copied_fields,
    encoded_header,
    float32_field,
    float32s_field,
    text_field,
    texts_field,
    uint32_field,
    uint32s_field,
    writing_gguf,
)
from tests.support import tiny_models

FIELDS = (
    text_field("general.architecture", "llama"),
    uint32_field("a.number", 7),
    float32_field("a.float", 0.5),
    texts_field("some.texts", ["ä", "", "word"]),
    uint32s_field("some.numbers", [1, 2**32 - 1]),
    float32s_field("some.floats", [0.25, -1.0]),
    bytes_field("some.bytes", b"\x00\xff"),
)
VALUES = {
    "odd": np.arange(15, dtype=np.float32).reshape(5, 3),
    "cube": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
}
SLOTS = (Slot("odd", (3, 5), GgmlType.F32), Slot("cube", (4, 3, 2), GgmlType.F32))


def write(out: Path) -> None:
    with writing_gguf(out, FIELDS, SLOTS) as writer:
        for values in VALUES.values():
            for row in values:
                writer.write(np.ascontiguousarray(row))
            writer.end_tensor()


def test_gguf_py_reads_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf")
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    found = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert found.keys() == VALUES.keys()
    for name, values in VALUES.items():
        np.testing.assert_array_equal(found[name].reshape(values.shape), values)
    contents = {key: field.contents() for key, field in reader.fields.items()}
    assert contents["some.texts"] == ["ä", "", "word"]
    assert contents["some.numbers"] == [1, 2**32 - 1]
    assert contents["some.floats"] == [0.25, -1.0]
    assert contents["some.bytes"] == [0, 255]
    assert (contents["a.number"], contents["a.float"]) == (7, 0.5)


def test_a_file_name_that_is_no_utf_8_is_stored_with_a_mark_for_each_wrong_byte(
    tmp_path: Path,
) -> None:
    name = Path(os.fsdecode(b"bad\xff.gguf")).stem
    fields = (text_field("general.name", name), texts_field("names", ["a", name]))
    with writing_gguf(tmp_path / "x.gguf", fields, ()):
        pass
    header = read_header(tmp_path / "x.gguf")
    assert header.text("general.name") == "bad\ufffd"


def test_metadata_is_copied_byte_for_byte(tmp_path: Path) -> None:
    base = tiny_models.write_base(tmp_path / "base.gguf")
    fields = copied_fields(read_header(base))
    stored = base.read_bytes()
    copied = encoded_header(fields, ())
    start = stored.index(b"general.architecture") - 8
    n_bytes = len(b"".join(field.encoded() for field in fields))
    assert n_bytes > 1000
    assert copied[24 : 24 + n_bytes] == stored[start : start + n_bytes]


@pytest.mark.parametrize("n_rows", [4, 6])
def test_a_tensor_that_is_not_whole_leaves_nothing(tmp_path: Path, n_rows: int) -> None:
    def write_odd() -> None:
        with writing_gguf(tmp_path / "x.gguf", FIELDS, SLOTS) as writer:
            writer.write(np.zeros((n_rows, 3), dtype=np.float32))
            writer.end_tensor()

    with pytest.raises(ValueError, match="odd"):
        write_odd()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tensor_leaves_the_file_before(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("older")
    with (
        pytest.raises(ValueError, match="0 of 2"),
        writing_gguf(tmp_path / "x.gguf", FIELDS, SLOTS),
    ):
        pass
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="absent"):
        write(tmp_path / "absent" / "x.gguf")
