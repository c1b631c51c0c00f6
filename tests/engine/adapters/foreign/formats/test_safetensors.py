"""Headers of safetensors files are read as the format says, and whatever lies is refused."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.foreign.formats.safetensors import read_safetensors
from engine.errors import AdapterError
from tests.support.peft_folders import Dtype, safetensors_bytes

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def file_with(header: object, n_data: int = 0) -> bytes:
    """Return a file with this header, as JSON or as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(n_data)


def entry(**changes: object) -> bytes:
    """Return a file with one tensor of four bytes, changed."""
    return file_with({"x": {**ONE, **changes}}, 4)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
def test_every_float_is_read_exactly(tmp_path: Path, dtype: Dtype) -> None:
    rows = np.arange(-6, 6, dtype=np.float32).reshape(3, 4) / 8
    path = tmp_path / "x.safetensors"
    path.write_bytes(
        safetensors_bytes({"rows": rows, "one": np.float32(2.5).reshape(())}, dtype, {"a": "b"})
    )
    tensors = read_safetensors(path)
    assert list(tensors) == ["rows", "one"]
    stored = tensors["rows"].stored()
    assert stored.shape == (3, 4)
    assert stored.dtype == ("f32" if dtype == "f64" else dtype)
    values = stored.read()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, rows)
    assert tensors["one"].stored().read() == 2.5


def test_all_bits_of_bfloat16_become_the_same_float32(tmp_path: Path) -> None:
    bits = np.arange(65_536, dtype="<u2")
    path = tmp_path / "x.safetensors"
    header = {"x": {"dtype": "BF16", "shape": [65_536], "data_offsets": [0, 131_072]}}
    path.write_bytes(file_with(header) + bits.tobytes())
    values = read_safetensors(path)["x"].stored().read()
    np.testing.assert_array_equal(values.view(np.uint32), bits.astype(np.uint32) << 16)


def test_tensors_come_in_the_order_of_their_data(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    header = {"late": {**ONE, "data_offsets": [4, 8]}, "early": ONE}
    path.write_bytes(file_with(header, 8))
    assert list(read_safetensors(path)) == ["early", "late"]


def test_only_the_header_is_read_before_values_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    n_bytes = 1 << 40  # a file with a hole of a terabyte, which takes no space
    header = file_with(
        {"x": {"dtype": "F32", "shape": [n_bytes // 4], "data_offsets": [0, n_bytes]}}
    )
    path.write_bytes(header)
    os.truncate(path, len(header) + n_bytes)
    assert read_safetensors(path)["x"].shape == (n_bytes // 4,)


def test_integers_are_listed_but_are_no_factors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(entry(dtype="I32"))
    with pytest.raises(AdapterError, match="as I32, not as floats"):
        read_safetensors(path)["x"].stored()


def test_a_file_that_changed_since_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(entry())
    stored = read_safetensors(path)["x"].stored()
    path.write_bytes(entry() + b" ")
    with pytest.raises(AdapterError, match="changed while being read"):
        stored.read()
    path.unlink()
    with pytest.raises(AdapterError, match="does not exist"):
        stored.read()


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    with pytest.raises(AdapterError, match="not a regular file"):
        read_safetensors(tmp_path / "x.safetensors")


HOSTILE = {
    "empty": (b"", "is empty"),
    "shorter than a length": (b"\0\0\0", "3 bytes, too few"),
    "a pointer of git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "a web page": (b"<!DOCTYPE html><html>", "web page"),
    "header longer than the file": (struct.pack("<Q", 99) + b"{}", "99 bytes long in a file"),
    "header longer than all numbers": (struct.pack("<Q", 2**64 - 1) + b"{}", "cut short"),
    "torch's format under this name": (b"PK\x03\x04" + bytes(60), "cut short or no safetensors"),
    "no object": (file_with([1]), "begins with b'[1]', not with a JSON object"),
    "spaces before the header": (file_with(b'  {"x":1}'), "begins with"),
    "not JSON": (file_with(b"{'x': 1}"), "not JSON at line 1"),
    "JSON cut off": (file_with(b'{"x": {"dtype": "F32"'), "not JSON"),
    "not UTF-8": (file_with(b'{"\xff": 1}'), "not valid UTF-8"),
    "nested for ever": (file_with(b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "deeply"),
    "endless number": (file_with(b'{"x":' + b"9" * 5000 + b"}"), "thousands of digits"),
    "one name twice": (file_with(b'{"x":{},"x":{}}'), "names 'x' twice"),
    "one field twice": (
        file_with(b'{"x":{"dtype":"F32","dtype":"F16","shape":[],"data_offsets":[0,4]}}', 4),
        "names 'dtype' twice",
    ),
    "metadata that is no object": (file_with({"__metadata__": 3}), "metadata is not a JSON object"),
    "entry that is no object": (file_with({"x": 3}), "'x' lacks some of its three fields"),
    "entry without a shape": (file_with({"x": {"dtype": "F32", "data_offsets": [0, 4]}}), "three"),
    "unknown type": (entry(dtype="F128"), "unknown type 'F128'"),
    "type that is no text": (entry(dtype=["F32"]), "unknown type"),
    "eight-bit floats claimed as four bytes": (entry(dtype="F8_E4M3"), "4 bytes where"),
    "negative size": (entry(shape=[-1]), "shape of 'x' makes no sense"),
    "size that is true": (entry(shape=[True]), "shape of 'x' makes no sense"),
    "size that is a fraction": (entry(shape=[1.0]), "shape of 'x' makes no sense"),
    "size beyond 64 bits": (entry(shape=[2**70]), "shape of 'x' makes no sense"),
    "sizes whose product wraps to 4 bytes": (entry(shape=[2**62, 4, 2**62]), "'x' has 4 bytes"),
    "too many dimensions": (entry(shape=[1] * 9), "shape of 'x' makes no sense"),
    "offsets the wrong way round": (entry(data_offsets=[4, 0]), "offsets of 'x' make no sense"),
    "one offset": (entry(data_offsets=[4]), "offsets of 'x' make no sense"),
    "data that begins late": (file_with({"x": {**ONE, "data_offsets": [4, 8]}}, 8), "byte 4, but"),
    "data past the end": (file_with({"x": ONE}, 3), "the file has"),
    "bytes behind the data": (file_with({"x": ONE}, 5), "the file has"),
    "overlapping data": (file_with({"x": ONE, "y": ONE}, 4), "'y' begins at byte 0"),
    "a hole": (file_with({"x": ONE, "y": {**ONE, "data_offsets": [8, 12]}}, 12), "ends at byte 4"),
    "nothing but a hole": (file_with({}, 4), "the file has"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    content, said = HOSTILE[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(AdapterError) as refusal:
        read_safetensors(path)
    message = str(refusal.value)
    assert said in message
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))


@pytest.mark.reference
def test_the_safetensors_package_reads_the_same(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    random = np.random.default_rng(0)
    theirs = {
        f"t{index}": random.normal(size=shape).astype(dtype)
        for index, (shape, dtype) in enumerate(
            [((3, 4), "f4"), ((2, 3, 5), "f2"), ((), "f8"), ((0, 4), "f4"), ((7,), "f2")]
        )
    }
    path = tmp_path / "x.safetensors"
    save_file(theirs, path, metadata={"format": "pt"})
    ours = read_safetensors(path)
    assert ours.keys() == theirs.keys()
    for name, values in load_file(path).items():
        np.testing.assert_array_equal(ours[name].stored().read(), values.astype(np.float32))


@pytest.mark.reference
@pytest.mark.parametrize(
    "case",
    # JSON's last of two equal names counts there, and dimensions have no limit.
    sorted(set(HOSTILE) - {"one name twice", "one field twice", "too many dimensions"}),
)
def test_the_safetensors_package_refuses_the_same(tmp_path: Path, case: str) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = tmp_path / "x.safetensors"
    path.write_bytes(HOSTILE[case][0])
    with pytest.raises((SafetensorError, ValueError, KeyError)):
        load_file(path)
