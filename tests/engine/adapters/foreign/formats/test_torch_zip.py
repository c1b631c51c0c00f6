"""Files of `torch.save` are read without torch, and no function of theirs is ever called."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.foreign.formats.torch_zip import read_torch_zip
from engine.adapters.foreign.formats.zip_entries import read_zip
from engine.errors import AdapterError
from tests.support.peft_folders import Dtype, torch_bytes, torch_pickle
from tests.support.places import CONVERSION_DATA

ROWS = np.arange(24, dtype=np.float32).reshape(4, 6) / 8
UPPER = np.arange(48, dtype=np.float32).reshape(8, 6) / 8
EXPECTED = {
    "matrix": ROWS,
    "transposed": ROWS.T,
    "parameter": ROWS,
    "upper": UPPER[:4],
    "lower": UPPER[4:],
    "column": UPPER[:, 1:2],
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 3), np.float32),
}
"""What data/torch_table.bin was made of, with integers under `numbers` beside."""


def archive(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a ZIP archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as writer:
        for name, content in entries.items():
            writer.writestr(name, content)
    return made.getvalue()


def saved(program: bytes | None = None, n_data: int = 96, **more: bytes) -> bytes:
    """Return a file as torch writes it, with this pickle and this many bytes in its storage."""
    program = torch_pickle({"x": ROWS}) if program is None else program
    others = {f"a/{name}": content for name, content in more.items()}
    return archive({"a/data.pkl": program, "a/data/0": bytes(n_data), **others})


class Calls:
    """Pickles into a call of a function, as an attack does."""

    def __init__(self, *call: object) -> None:
        self._call = call

    def __reduce__(self) -> tuple[object, ...]:
        return self._call[0], self._call[1:]


def check(tensors: Path) -> None:
    """Assert that every value in the file is as expected."""
    found = read_torch_zip(tensors)
    assert list(found) == [*EXPECTED, "numbers"]
    for name, values in EXPECTED.items():
        np.testing.assert_array_equal(found[name].stored().read(), values)
    assert [found[name].stored().dtype for name in ("parameter", "upper", "scalar")] == [
        "f16",
        "bf16",
        "f32",
    ]
    assert found["numbers"].dtype == "I64"


def test_what_torch_saved_is_read_value_by_value() -> None:
    check(CONVERSION_DATA / "torch_table.bin")


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
def test_every_float_is_read_exactly(tmp_path: Path, dtype: Dtype) -> None:
    path = tmp_path / "x.bin"
    torch_bytes(path, {"a": ROWS, "b": ROWS.T}, dtype)
    tensors = read_torch_zip(path)
    np.testing.assert_array_equal(tensors["a"].stored().read(), ROWS)
    np.testing.assert_array_equal(tensors["b"].stored().read(), ROWS.T)


def test_compressed_entries_are_inflated(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with zipfile.ZipFile(CONVERSION_DATA / "torch_table.bin") as theirs:
        content = {name: theirs.read(name) for name in theirs.namelist()}
    path.write_bytes(archive(content, zipfile.ZIP_DEFLATED))
    check(path)


def test_no_function_of_the_pickle_is_called(tmp_path: Path) -> None:
    path, trace = tmp_path / "x.bin", tmp_path / "called"
    for protocol in range(2, 6):
        path.write_bytes(saved(pickle.dumps({"x": Calls(os.mkdir, str(trace))}, protocol)))
        with pytest.raises(AdapterError, match=r"would call (posix|os)\.mkdir when loaded"):
            read_torch_zip(path)
        assert not trace.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, pickle.loads])
def test_the_function_that_is_refused_is_named(tmp_path: Path, function: object) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(saved(pickle.dumps(Calls(function, "1"), 2)))
    with pytest.raises(AdapterError, match=function.__name__):  # type: ignore[attr-defined]  # all have one
        read_torch_zip(path)


def test_a_file_of_an_old_torch_is_refused_with_what_to_do() -> None:
    with pytest.raises(AdapterError, match="save it again as safetensors"):
        read_torch_zip(CONVERSION_DATA / "torch_legacy.bin")


def test_a_file_that_changed_since_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(saved())
    stored = read_torch_zip(path)["x"].stored()
    path.write_bytes(saved(n_data=100))
    with pytest.raises(AdapterError, match="changed while being read"):
        stored.read()


def integers(text: bytes) -> bytes:
    """Return the pickle of the matrix with a part of it replaced; the part is there once."""
    old, new = text.split(b"=")
    program = torch_pickle({"x": ROWS})
    assert program.count(old) == 1
    return program.replace(old, new)


def j(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


PAIR = b"(" + j(4) + j(6) + b"t"
STRIDES = b"(" + j(6) + j(1) + b"t"
FAR = b"\x8a\x08" + b"\xff" * 7 + b"\x7f"  # 2**63 - 1


def test_a_stride_that_is_never_taken_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    replaced = PAIR + STRIDES + b"=(" + j(1) + j(24) + b"t(" + FAR + j(1) + b"t"
    path.write_bytes(saved(integers(replaced)))
    assert read_torch_zip(path)["x"].stored().read().shape == (1, 24)


def test_nothing_is_read_beyond_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path.write_bytes(archive({"one": b"12345678", "two": b"secret"}, compression))
        entry = read_zip(path)["one"]
        assert entry.read(2, 6) == b"345678"
        with pytest.raises(AdapterError, match="shorter than what lies in it"):
            entry.read(2, 7)


HOSTILE = {
    "empty": (b"", "is empty"),
    "a bare pickle": (pickle.dumps({"x": 1}), "not in torch's ZIP format"),
    "a tar archive": (bytes(257) + b"ustar" + bytes(250), "is an archive: unpack it"),
    "a safetensors file under this name": (
        struct.pack("<Q", 2) + b"{}",
        "not in torch's ZIP format",
    ),
    "a pointer of git-lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "an archive cut short": (saved()[:200], "not a sound ZIP archive"),
    "an archive of something else": (
        archive({"word/document.xml": b"x"}),
        "that torch did not write",
    ),
    "two pickles": (archive({"a/data.pkl": b"", "b/data.pkl": b""}), "that torch did not write"),
    "an empty pickle": (saved(b""), "cut short"),
    "a pickle cut short": (saved(torch_pickle({"x": ROWS})[:-10]), "cut short"),
    "a pickle without an end": (saved(b"\x80\x02}"), "cut short"),
    "an unknown instruction": (saved(b"\x80\x02\xff."), "cut short"),
    "an instruction for objects": (saved(b"\x80\x02)\x81."), "NEWOBJ, which tensors never need"),
    "an instance": (saved(b"(iposix\nsystem\n."), "INST, which tensors never need"),
    "a stack that is empty": (saved(b"\x80\x02."), "cut short"),
    "a mark that is missing": (saved(b"\x80\x02Nt."), "contradicts itself"),
    "a mark as the value": (saved(b"\x80\x02(."), "contradicts itself"),
    "a place in the memo that is empty": (saved(b"\x80\x02h\x05."), "cut short"),
    "a memo of four thousand million": (
        saved(b"\x80\x02}r\xff\xff\xff\xff0."),
        "tensors never need",
    ),
    "a list as the value": (saved(b"\x80\x02]."), "no table of tensors"),
    "a number as the value": (saved(b"\x80\x02K\x01."), "no table of tensors"),
    "a number in the table": (saved(b"\x80\x02}X\1\0\0\0xK\x01s."), "'x', not a tensor"),
    "a table keyed by tuples": (saved(b"\x80\x02}(K\x01tK\x01s."), "keys that are not text"),
    "a call of a number": (saved(b"\x80\x02K\x01)R."), "calls something that is not a function"),
    "a length of 2**63": (saved(b"\x80\x05\x8d" + b"\xff" * 8 + b"."), "cut short"),
    "a bytearray of 2**40": (saved(b"\x80\x05\x96\0\0\0\0\0\1\0\0" + b"."), "cut short"),
    "text that is not UTF-8": (saved(b"\x80\x02X\1\0\0\0\xff."), "cut short"),
    "a storage as the tensor": (
        saved(b"\x80\x02}X\1\0\0\0xctorch\nFloatStorage\n)Rs."),
        "as torch never does",
    ),
    "no storage": (archive({"a/data.pkl": torch_pickle({"x": ROWS})}), "storage of 'x' is missing"),
    "a storage that is cut short": (saved(n_data=92), "shorter than it should be"),
    "a shape larger than its storage": (
        saved(integers(PAIR + b"=(" + j(400) + j(6) + b"t")),
        "reaches beyond its storage",
    ),
    "a shape whose product is endless": (
        saved(integers(PAIR + b"=(" + FAR * 2 + b"t")),
        "reaches beyond its storage",
    ),
    "a negative size": (saved(integers(PAIR + b"=(" + j(-4) + j(6) + b"t")), "torch never does"),
    "a size that is text": (saved(integers(PAIR + b"=(X\1\0\0\0x" + j(6) + b"t")), "never does"),
    "too many dimensions": (
        saved(integers(PAIR + b"=(" + j(1) * 9 + b"t")),
        "as torch never does",
    ),
    "strides beyond the storage": (
        saved(integers(STRIDES + b"=(" + j(60) + j(1) + b"t")),
        "reaches beyond its storage",
    ),
    "negative strides": (
        saved(integers(STRIDES + b"=(" + j(-6) + j(1) + b"t")),
        "as torch never does",
    ),
    "one value repeated for ever": (
        saved(integers(PAIR + STRIDES + b"=(" + j(2**30) * 2 + b"t(" + j(0) * 2 + b"t")),
        "reaches beyond its storage",
    ),
    "an offset beyond the storage": (
        saved(integers(b"tQ" + j(0) + b"=tQ" + j(1))),
        "reaches beyond its storage",
    ),
    "a negative offset": (saved(integers(b"tQ" + j(0) + b"=tQ" + j(-1))), "torch never does"),
    "a storage outside the archive": (
        saved(torch_pickle({"x": ROWS}).replace(b"X\1\0\0\0" + b"0", b"X\5\0\0\0../..")),
        "storage of 'x' is missing",
    ),
    "a big-endian machine": (saved(byteorder=b"big"), "big-endian"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    content, said = HOSTILE[case]
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(AdapterError) as refusal:
        read_torch_zip(path)
    message = str(refusal.value)
    assert said in message
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message


def test_an_entry_of_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with zipfile.ZipFile(path, "w") as writer:
        writer.writestr("a/data.pkl", b"")
        with pytest.warns(UserWarning, match="Duplicate name"):
            writer.writestr("a/data.pkl", b"")
    with pytest.raises(AdapterError, match="twice"):
        read_torch_zip(path)


def test_an_archive_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    content = bytearray(archive({"a/data.pkl": bytes(1000)}, zipfile.ZIP_DEFLATED))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 2**31)  # the size in the archive's directory
    path.write_bytes(content)
    with pytest.raises(AdapterError, match="would inflate to 2147483648 bytes"):
        read_torch_zip(path)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    content = bytearray(saved())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(AdapterError, match="encrypted"):
        read_torch_zip(path)


@pytest.mark.reference
def test_what_torch_saves_today_is_read(tmp_path: Path) -> None:
    import torch

    rows = torch.from_numpy(ROWS)
    upper = torch.from_numpy(UPPER).bfloat16()
    table = {
        "matrix": rows,
        "transposed": rows.clone().t(),
        "parameter": torch.nn.Parameter(rows.half()),
        "upper": upper[:4],
        "lower": upper[4:],
        "column": upper[:, 1:2],
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "numbers": torch.arange(3),
    }
    torch.save(table, tmp_path / "x.bin")
    check(tmp_path / "x.bin")
