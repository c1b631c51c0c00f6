"""Broken, truncated and hostile files end in one sentence, in bounded time and memory."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import GgufError
from engine.gguf.cursor import FileCursor
from engine.gguf.header import read_header
from engine.gguf.metadata import GgufArray, ValueType
from engine.gguf.tensors import TensorInfo
from tests.support.gguf_large import peak_memory
from tests.support.gguf_raw import RawTensor, RawValue, gguf_bytes, text
from tests.support.tiny_models import write_adapter, write_base

ALIGNMENT = "general.alignment"
U32, STRING, ARRAY = ValueType.UINT32, ValueType.STRING, ValueType.ARRAY
ONE = RawTensor((1,), 0, bytes(4))


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def key_with(payload: bytes) -> bytes:
    """Return a file with one key whose type and value are `payload`."""
    return gguf_bytes(n_keys=1)[:24] + u64(1) + b"k" + payload


def tensor_with(shape: tuple[int, ...], type_: int = 0, offset: int = 0) -> bytes:
    """Return a file with one tensor that claims `shape` and has no data."""
    return gguf_bytes(tensors=[("x", RawTensor(shape, type_, b"", offset))])


HOSTILE = {
    "empty file": (b"", "is empty"),
    "shorter than the magic number": (b"GG", "not a GGUF file"),
    "only the magic number": (b"GGUF", "cut short"),
    "a PyTorch file": (b"PK\x03\x04" + bytes(64), "as PyTorch's files"),
    "a web page": (b"<!DOCTYPE html><html></html>", "is a web page"),
    "a pointer of git-lfs": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "is a git-lfs pointer",
    ),
    "the format before GGUF": (b"tjgg" + bytes(64), "before GGUF"),
    "noise": (bytes(range(256)), "not a GGUF file"),
    "version 0": (gguf_bytes(version=0), "version 0"),
    "version 1": (gguf_bytes(version=1), "version 1"),
    "version 4": (gguf_bytes(version=4), "version 4"),
    "random bytes after the magic": (b"GGUF" + bytes(range(60)), "damaged"),
    "big-endian": (gguf_bytes(version=3 << 24), "big-endian"),
    "too many tensors": (gguf_bytes(n_tensors=2**63), "claims 9223372036854775808 tensors"),
    "too many keys": (gguf_bytes(n_keys=2**64 - 1), "metadata keys"),
    "more keys than there are": (gguf_bytes(n_keys=3)[:24], "cut short"),
    "more tensors than there are": (gguf_bytes(n_tensors=3)[:24], "cut short"),
    "empty key": (gguf_bytes([("", text("a"))]), "metadata key 0 is ''"),
    "key with a zero byte": (gguf_bytes([("a\0b", text("a"))]), "metadata key 0"),
    "key that is not UTF-8": (gguf_bytes([(b"\xff\xfe", text("a"))]), "not valid UTF-8"),
    "key past the end": (gguf_bytes(n_keys=1)[:24] + u64(2**63), "cut short"),
    "endless key": (gguf_bytes([("k" * 70_000, text("a"))]), "70000 bytes long"),
    "key twice": (gguf_bytes([("k", text("a")), ("k", text("b"))]), "key 'k' twice"),
    "unknown value type": (key_with(struct.pack("<I", 13)), "unknown value type 13"),
    "string past the end": (key_with(struct.pack("<IQ", STRING, 2**40)), "cut short"),
    "string longer than all numbers": (key_with(struct.pack("<IQ", STRING, 2**64 - 1)), "cut"),
    "array of arrays": (key_with(struct.pack("<IIQ", ARRAY, ARRAY, 1)), "array of arrays"),
    "array of nothing known": (key_with(struct.pack("<IIQ", ARRAY, 99, 1)), "unknown value type"),
    "array longer than the file": (key_with(struct.pack("<IIQ", ARRAY, U32, 999)), "cut short"),
    "array with an absurd count": (key_with(struct.pack("<IIQ", ARRAY, U32, 2**62)), "claims"),
    "strings longer than the file": (key_with(struct.pack("<IIQ", ARRAY, STRING, 99)), "cut short"),
    "strings with an absurd count": (
        key_with(struct.pack("<IIQ", ARRAY, STRING, 2**64 - 1)),
        "claims",
    ),
    "string in an array past the end": (
        key_with(struct.pack("<IIQ", ARRAY, STRING, 2) + u64(2**64 - 1) + bytes(64)),
        "cut short",
    ),
    "string in an array just past the end": (
        key_with(struct.pack("<IIQ", ARRAY, STRING, 1) + u64(65) + bytes(64)),
        "cut short",
    ),
    "alignment 0": (gguf_bytes([(ALIGNMENT, RawValue(U32, 0))]), "not a power of two"),
    "alignment 3": (gguf_bytes([(ALIGNMENT, RawValue(U32, 3))]), "not a power of two"),
    "alignment as text": (gguf_bytes([(ALIGNMENT, text("32"))]), "unsigned integer"),
    "alignment as another integer": (
        gguf_bytes([(ALIGNMENT, RawValue(ValueType.UINT64, 32))]),
        "unsigned integer",
    ),
    "tensor twice": (gguf_bytes(tensors=[("x", ONE), ("x", ONE)]), "tensor 'x' twice"),
    "tensor without a name": (gguf_bytes(tensors=[("", ONE)]), "name of tensor 0 is ''"),
    "tensor name with a zero byte": (gguf_bytes(tensors=[("x\0y", ONE)]), "name of tensor 0"),
    "tensor name that is not UTF-8": (gguf_bytes(tensors=[(b"\xc3(", ONE)]), "not valid UTF-8"),
    "tensor name too long for ggml": (gguf_bytes(tensors=[("x" * 64, ONE)]), "64 bytes long"),
    "five dimensions": (tensor_with((1, 1, 1, 1, 1)), "5 dimensions"),
    "four thousand million dimensions": (
        gguf_bytes(n_tensors=1)[:24] + u64(1) + b"x" + b"\xff\xff\xff\xff" + bytes(64),
        "4294967295 dimensions",
    ),
    "dimensions that overflow": (tensor_with((2**32, 2**32, 2**32)), "claims the shape"),
    "a dimension that is negative in C": (tensor_with((2**64 - 1,)), "claims the shape"),
    "an overflow hidden behind a zero": (tensor_with((2**62, 2**62, 0)), "claims the shape"),
    "size in bytes that overflows": (tensor_with((2**62,)), "cut short"),
    "unknown tensor type": (tensor_with((1,), 66), "unknown type 66"),
    "removed tensor type": (tensor_with((32,), 4), "unknown type 4"),
    "rows that are no whole blocks": (tensor_with((33,), 8), "no multiple of 32"),
    "data past the end": (tensor_with((1024,)), "cut short"),
    "offset past the end": (tensor_with((1,), offset=2**63), "offset"),
    "unaligned offset": (tensor_with((1,), offset=1), "offset 1 where 0 is due"),
    "overlapping tensors": (
        gguf_bytes(tensors=[("x", ONE), ("y", RawTensor((1,), 0, bytes(4), 0))]),
        "offset 0 where 32 is due",
    ),
    "end inside the padding": (gguf_bytes(tensors=[("x", RawTensor((0,), 0, b""))])[:-1], "short"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_one_sentence(tmp_path: Path, name: str) -> None:
    data, reason = HOSTILE[name]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(data)
    with pytest.raises(GgufError) as caught:
        read_header(path)
    message = str(caught.value)
    assert reason in message
    assert str(path) in message
    assert message.endswith(".")
    assert message.isprintable()
    assert len(message) < 400


def test_what_is_no_file_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="does not exist"):
        read_header(tmp_path / "absent.gguf")
    with pytest.raises(GgufError, match="is a folder"):
        read_header(tmp_path)
    with pytest.raises(GgufError, match="cannot be read"):
        read_header(Path("a\0b.gguf"))
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(GgufError, match="cannot be read"):
        read_header(file / "below.gguf")
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GgufError, match="not a regular file"):
        read_header(tmp_path / "pipe.gguf")


@pytest.mark.parametrize(
    "value",
    [
        struct.pack("<IQ", STRING, 90 * 10**9),
        struct.pack("<IIQ", ARRAY, STRING, 2**30),
        struct.pack("<IIQ", ARRAY, U32, 2**30),
    ],
    ids=["string", "strings", "numbers"],
)
def test_memory_does_not_follow_the_claims_of_a_file(tmp_path: Path, value: bytes) -> None:
    """The file has 100 GB of zeros, which take no space on the disk."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(key_with(value))
    os.truncate(path, 100 * 10**9)
    with peak_memory() as peak, pytest.raises(GgufError, match="damaged"):
        read_header(path)
    assert peak.n_bytes < 2_000_000


def test_many_strings_within_the_limits_of_each_are_refused_together(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    n_each = 60 * 1024 * 1024
    with path.open("wb") as file:
        file.write(gguf_bytes(n_keys=4)[:24])
        for key in b"abcd":
            file.write(u64(1) + bytes([key]) + struct.pack("<IQ", STRING, n_each))
            file.seek(n_each, os.SEEK_CUR)
        file.truncate()
    with pytest.raises(GgufError, match="more than 134217728 bytes of text"):
        read_header(path)


def test_many_arrays_within_the_limits_of_each_are_refused_together(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    n_each = 3_000_000
    with path.open("wb") as file:
        file.write(gguf_bytes(n_keys=2)[:24])
        for key in b"ab":
            file.write(u64(1) + bytes([key]) + struct.pack("<IIQ", ARRAY, STRING, n_each))
            file.seek(8 * n_each, os.SEEK_CUR)
        file.truncate()
    with pytest.raises(GgufError, match="more than 4000000 strings"):
        read_header(path)


def test_a_file_cut_short_while_it_is_read_is_an_error_and_no_signal(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(bytes(1_000_000))
    with FileCursor(path) as cursor:
        cursor.take(1000, "the first bytes")
        os.truncate(path, 2000)
        with pytest.raises(GgufError, match="cut short"):
            cursor.take(900_000, "the rest")
        with pytest.raises(GgufError, match="cut short"):
            cursor.skip_strings(100_000, "the rest")


@pytest.fixture(scope="module")
def sound_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ...]:
    """Return the headers of a base and an adapter, each with a little of the data."""
    folder = tmp_path_factory.mktemp("sound")
    base = write_base(folder / "base.gguf", n_layer=1)
    adapter = write_adapter(folder / "adapter.gguf", base, targets=["attn_q", "attn_v"], rank=1)
    return base.read_bytes(), adapter.read_bytes()


INTERESTING = st.sampled_from(
    [u64(n) for n in (0, 1, 8, 9, 2**16, 2**31, 2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1)]
)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_change_of_a_sound_file_gives_a_header_or_a_sentence(
    sound_files: tuple[bytes, ...], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(data.draw(st.sampled_from(sound_files)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(changed), 12_000)))
        new = data.draw(st.one_of(st.binary(max_size=12), INTERESTING))
        kind = data.draw(st.sampled_from(["overwrite", "insert", "delete", "truncate"]))
        if kind == "truncate":
            del changed[at:]
        else:
            stop = {"overwrite": at + len(new), "insert": at, "delete": at + 2 * len(new)}[kind]
            changed[at:stop] = b"" if kind == "delete" else new
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(changed)
    sentence = "It is sound."
    tensors: tuple[TensorInfo, ...] = ()
    try:
        header = read_header(path)
        tensors = tuple(header.tensors.values())
        for value in header.metadata.values():
            if isinstance(value, GgufArray):
                value.read()
    except GgufError as error:
        sentence = str(error)
    assert sentence.endswith(".")
    for tensor in tensors:
        assert header.data_offset <= tensor.offset
        assert tensor.offset + tensor.size_bytes <= len(changed)


@pytest.mark.parametrize("which", [0, 1])
def test_every_truncation_of_a_header_is_refused(
    sound_files: tuple[bytes, ...], tmp_path: Path, which: int
) -> None:
    path = tmp_path / "whole.gguf"
    path.write_bytes(sound_files[which])
    end = read_header(path).data_offset
    cut = tmp_path / "cut.gguf"
    for length in [*range(min(end, 300)), *range(300, end, 61), end]:
        cut.write_bytes(sound_files[which][:length])
        with pytest.raises(GgufError):
            read_header(cut)
