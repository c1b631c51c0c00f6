"""Tell what a file is by its first bytes, where it is neither GGUF nor weights to be converted.

Source: llama.cpp before GGUF (`LLAMA_FILE_MAGIC_*`, written as little-endian numbers), git-lfs's
specification, the Hub's error texts, and the magic numbers of archives and pictures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

N_BYTES: Final = 512
"""Number of first bytes that `signature_of` needs."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a file is, and what to do about it; both complete a sentence about the file."""

    what: str
    remedy: str

    def __str__(self) -> str:
        """Return the end of a sentence that begins with the file's path."""
        return f"is {self.what}: {self.remedy}."


_AGAIN: Final = "download the file itself"
_UNPACK: Final = "unpack it and name what is inside"
_WEIGHTS: Final = "name a file of weights"
_OLD_MODEL: Final = "get or convert the model as GGUF"

_TABLE: Final = tuple(
    (re.compile(pattern, re.IGNORECASE if is_text else 0), Signature(what, remedy))
    for pattern, is_text, what, remedy in (
        (
            rb"algg|ggla",
            False,
            "a LoRA in llama.cpp's old format (ggla), which nothing reads any more",
            "convert the PEFT folder that it was made of",
        ),
        (rb"lmgg|fmgg|tjgg", False, "a model in a format before GGUF", _OLD_MODEL),
        (
            rb"version https://(git-lfs|hawser)",
            False,
            "a git-lfs pointer, not the file itself",
            "run git lfs pull in its folder",
        ),
        (
            rb"\s*<(!doctype|!--|html|head|body|\?xml)",
            True,
            "a web page saved in place of the file",
            _AGAIN,
        ),
        (
            rb"\s*(\{\s*\"(error|message|detail)\"|entry not found|repository not found"
            rb"|invalid (username|credentials|rev)|access to (model|dataset)|unauthorized|not found"
            rb"|forbidden|40[134]\b)",
            True,
            "an error of a server saved in place of the file",
            f"{_AGAIN}, logged in if it is not public",
        ),
        (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", False, "a packed file", _UNPACK),
        (rb"7z\xbc\xaf|Rar!|.{257}ustar", False, "an archive", _UNPACK),
        (rb"\x89HDF\r\n", False, "a file of weights of Keras (HDF5)", "save a LoRA with PEFT"),
        (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", False, "a picture", _WEIGHTS),
        (rb"%PDF", False, "a PDF document", _WEIGHTS),
    )
)
_ARCHIVE: Final = Signature(
    "a ZIP archive, as PyTorch's files are too",
    "unpack it, or convert the model to GGUF first",
)
_SAFETENSORS: Final = Signature(
    "a safetensors file",
    "name it .safetensors if it is an adapter, or convert the model to GGUF first",
)


def signature_of(head: bytes) -> Signature | None:
    """Return what a file with these first bytes is, or None if it may be weights.

    Torch's files and .npz are ZIP archives, and safetensors may be under any name: None for both.
    """
    return next((found for pattern, found in _TABLE if re.match(pattern, head)), None)


def signature_beside_gguf(head: bytes) -> Signature | None:
    """Return what a file is that should be GGUF and is not, or None if it is not known."""
    if head.startswith(b"PK\x03\x04"):
        return _ARCHIVE
    if is_safetensors(head):
        return _SAFETENSORS
    return signature_of(head)


def is_safetensors(head: bytes) -> bool:
    """Return whether a file begins with the length of a header and a JSON object."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 1 << 30
