"""A file that is neither GGUF nor weights is recognised by its first bytes."""

from __future__ import annotations

import struct

import pytest

from modelfiles.references.signatures import is_safetensors, signature_beside_gguf, signature_of

KNOWN = {
    b"algg\x01\0\0\0": "a LoRA in llama.cpp's old format (ggla)",
    b"lmgg\0\0\0\0": "a model in a format before GGUF",
    b"tjgg\x03\0\0\0": "a model in a format before GGUF",
    b"version https://git-lfs.github.com/spec/v1\noid": "a git-lfs pointer",
    b"version https://hawser.github.com/spec/v1\noid": "a git-lfs pointer",
    b"<!DOCTYPE html>": "a web page",
    b"\n  <HTML lang": "a web page",
    b"<?xml version": "a web page",
    b'{"error":"Repository not found"}': "an error of a server",
    b"Entry not found": "an error of a server",
    b"Invalid username or password.": "an error of a server",
    b"Access to model meta-llama/x is restricted": "an error of a server",
    b"\x1f\x8b\x08": "a packed file",
    b"7z\xbc\xaf\x27\x1c": "an archive",
    bytes(257) + b"ustar": "an archive",
    b"\x89PNG\r\n": "a picture",
    b"\x89HDF\r\n\x1a\n": "a file of weights of Keras",
}


@pytest.mark.parametrize("head", KNOWN, ids=KNOWN.values())
def test_what_a_file_is(head: bytes) -> None:
    for find in (signature_of, signature_beside_gguf):
        said = str(find(head))
        assert said.startswith(f"is {KNOWN[head]}")
        assert said.endswith(".")
        assert "\n" not in said


@pytest.mark.parametrize(
    "head", [b"", b"GGUF", bytes(64), b"PK\x03\x04", b"\x80\x02\x8a", b'{"weight_map": {}}', b"hi"]
)
def test_what_may_be_weights_has_no_signature(head: bytes) -> None:
    assert signature_of(head) is None


def test_weights_in_place_of_a_gguf_file() -> None:
    safetensors = struct.pack("<Q", 64) + b'{"x":' + bytes(40)
    assert is_safetensors(safetensors)
    assert not is_safetensors(b"PK\x03\x04" + bytes(60))
    assert "a safetensors file" in str(signature_beside_gguf(safetensors))
    assert "a ZIP archive" in str(signature_beside_gguf(b"PK\x03\x04"))
