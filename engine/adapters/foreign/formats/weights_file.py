"""Read a file of weights in the format that its content has, whatever its name says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from engine.adapters.foreign.formats.untrusted_file import require_content
from engine.errors import AdapterError
from modelfiles.references.signatures import is_safetensors

if TYPE_CHECKING:
    from engine.adapters.foreign.formats.tensor import FileTensor  # imports numpy

WeightFormat = Literal["safetensors", "torch", "npz"]
FORMATS: Final[Mapping[str, WeightFormat]] = {
    ".safetensors": "safetensors",
    ".bin": "torch",
    ".pt": "torch",
    ".pth": "torch",
    ".npz": "npz",
}
"""Format by suffix, for a content that does not tell."""


def read_weights(path: Path) -> Mapping[str, FileTensor]:
    """Return the tensors of a file by name; raise `AdapterError` as its format's reader does."""
    # The readers are imported on demand because the imports of the archives' take 11 ms.
    match _format(path):
        case "safetensors":
            from engine.adapters.foreign.formats.safetensors import read_safetensors

            return read_safetensors(path)
        case "torch":
            from engine.adapters.foreign.formats.torch_zip import read_torch_zip

            return read_torch_zip(path)
        case "npz":
            from engine.adapters.foreign.formats.npz import read_npz

            return read_npz(path)


def is_gguf_already(path: Path) -> AdapterError:
    """Return the error for a GGUF file where one to convert is due."""
    return AdapterError("is GGUF already and needs no conversion: use it as it is.", path)


def _format(path: Path) -> WeightFormat:
    head = require_content(path)
    if head.startswith(b"GGUF"):
        raise is_gguf_already(path)
    if is_safetensors(head):
        return "safetensors"
    if head.startswith(b"PK\x03\x04") and FORMATS.get(path.suffix) != "npz":
        return "torch"
    return FORMATS.get(path.suffix, "safetensors")
