"""Read adapter_model.bin, torch's own format, without torch and without running its pickle.

The file is a ZIP archive (since torch 1.6) with a pickle of the tensors' shapes and one entry of
bytes for each storage. Source: `torch.serialization` and `torch._utils`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from engine.adapters.foreign.formats.pickled import (
    Call,
    ForeignFunctionError,
    Function,
    PickleError,
    Reference,
    interpret,
)
from engine.adapters.foreign.formats.tensor import MAX_DIMENSIONS, FileTensor
from engine.adapters.foreign.formats.untrusted_file import damaged, require_content
from engine.adapters.foreign.formats.zip_entries import ZipEntry, read_zip
from engine.errors import AdapterError
from modelfiles.wording import shown

MAX_PICKLE_BYTES: Final = 64 * 1024 * 1024
_ZIP_MAGIC: Final = b"PK\x03\x04"
_STORAGES: Final = {
    "torch.FloatStorage": ("F32", 4),
    "torch.HalfStorage": ("F16", 2),
    "torch.BFloat16Storage": ("BF16", 2),
    "torch.DoubleStorage": ("F64", 8),
    "torch.LongStorage": ("I64", 8),
    "torch.IntStorage": ("I32", 4),
    "torch.ShortStorage": ("I16", 2),
    "torch.CharStorage": ("I8", 1),
    "torch.ByteStorage": ("U8", 1),
    "torch.BoolStorage": ("BOOL", 1),
}
_TENSORS: Final = frozenset(("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"))
_PARAMETERS: Final = frozenset(
    ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
)
_FUNCTIONS: Final = frozenset((*_STORAGES, "torch.Size")) | _TENSORS | _PARAMETERS


def read_torch_zip(path: Path) -> Mapping[str, FileTensor]:
    """Return the tensors of a file that `torch.save` wrote for a dict of tensors.

    Reads only the pickle. Raises `AdapterError` if the file has another format, is damaged (also if
    a tensor exceeds its storage), or would call a function that does not rebuild a tensor.
    """
    head = require_content(path)
    if not head.startswith(_ZIP_MAGIC):
        raise AdapterError(
            "is not in torch's ZIP format: load it with torch and save it again as safetensors.",
            path,
        )
    entries = read_zip(path)
    folder, pickle = _pickle(path, entries)
    order = entries.get(f"{folder}byteorder")
    if order is not None and order.read(0, min(order.size_bytes, 16)).strip() == b"big":
        raise AdapterError(
            "was written by a big-endian machine: save it again as safetensors.", path
        )
    try:
        table = interpret(pickle.read(0, pickle.size_bytes), _FUNCTIONS)
    except PickleError as fault:
        raise damaged(path, str(fault)) from None
    except ForeignFunctionError as function:
        if str(function).startswith("torch.distributed."):
            raise AdapterError(
                f"holds one process's share of tensors ({function}), as FSDP2 and tensor "
                "parallelism keep them: save it again with the full state dict (FULL_STATE_DICT).",
                path,
            ) from None
        raise AdapterError(
            f"would call {function} when loaded, which tensors never need: do not load it "
            "elsewhere unless you trust it, or save it as safetensors.",
            path,
        ) from None
    if not isinstance(table, dict):
        raise AdapterError("holds no table of tensors: save the adapter as safetensors.", path)
    storages = _Storages(path, entries, f"{folder}data/")
    tensors: dict[str, FileTensor] = {}
    for name, value in table.items():
        if not isinstance(name, str) or not isinstance(value, Call):
            raise AdapterError(
                f"holds {shown(str(name))}, not a tensor: save the adapter alone, as safetensors.",
                path,
            )
        tensors[name] = storages.tensor(name, value)
    return tensors


def _pickle(path: Path, entries: Mapping[str, ZipEntry]) -> tuple[str, ZipEntry]:
    """Return the folder inside the archive, with its slash, and the pickle in it."""
    found = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise AdapterError(
            "is a ZIP archive that torch did not write: name an adapter's weights.", path
        )
    pickle = entries[found[0]]
    if pickle.size_bytes > MAX_PICKLE_BYTES:
        raise damaged(path, f"its pickle claims {pickle.size_bytes} bytes")
    return found[0].removesuffix("data.pkl"), pickle


@dataclass(frozen=True, slots=True)
class _Storages:
    """Builds tensors from their description in the pickle."""

    path: Path
    entries: Mapping[str, ZipEntry]
    folder: str

    def tensor(self, name: str, call: Call) -> FileTensor:
        for _ in range(2):  # unwrap a parameter around the tensor
            if call.function in _PARAMETERS and call.arguments:
                inner = call.arguments[0]
                if not isinstance(inner, Call):
                    raise self._wrong(name)
                call = inner
        if call.function not in _TENSORS or len(call.arguments) < 4:
            raise self._wrong(name)
        storage, offset, size, stride = call.arguments[:4]
        shape, strides = _sizes(size), _sizes(stride)
        if (
            shape is None
            or strides is None
            or len(shape) != len(strides)
            or len(shape) > MAX_DIMENSIONS
            or type(offset) is not int
            or offset < 0
        ):
            raise self._wrong(name)
        dtype, n_bytes, entry, n_stored = self._storage(name, storage)
        tensor = FileTensor(self.path, name, shape, dtype, partial(bytes))
        if not tensor.n_values:
            return tensor
        n_span = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if offset + n_span > n_stored or tensor.n_values > n_stored:
            raise damaged(self.path, f"{shown(name)} reaches beyond its storage")
        read = partial(_read, entry, offset * n_bytes, n_span, n_bytes, shape, strides)
        return FileTensor(self.path, name, shape, dtype, read)

    def _storage(self, name: str, storage: object) -> tuple[str, int, ZipEntry, int]:
        """Return type, bytes per value, entry and number of values of a storage."""
        identity = storage.identity if isinstance(storage, Reference) else None
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise self._wrong(name)
        _, kind, key, _, n_values = identity
        if not isinstance(kind, Function) or kind.name not in _STORAGES:
            raise self._wrong(name)
        dtype, n_bytes = _STORAGES[kind.name]
        entry = self.entries.get(f"{self.folder}{key}") if isinstance(key, str) else None
        if entry is None:
            raise damaged(self.path, f"the storage of {shown(name)} is missing")
        if type(n_values) is not int or not 0 <= n_values * n_bytes <= entry.size_bytes:
            raise damaged(self.path, f"the storage of {shown(name)} is shorter than it should be")
        return dtype, n_bytes, entry, n_values

    def _wrong(self, name: str) -> AdapterError:
        return damaged(self.path, f"its pickle describes {shown(name)} as torch never does")


def _sizes(value: object) -> tuple[int, ...] | None:
    """Return a shape or strides, or None if they are not integers from 0 to 2**63 - 1."""
    if isinstance(value, Call) and value.function == "torch.Size" and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, (tuple, list)):
        return None
    sizes = tuple(n for n in value if type(n) is int and 0 <= n < 2**63)
    return sizes if len(sizes) == len(value) else None


def _read(
    entry: ZipEntry,
    offset_bytes: int,
    n_span: int,
    n_bytes: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> bytes:
    """Return the bytes of a tensor in C order, for any stored order."""
    span = np.frombuffer(entry.read(offset_bytes, n_span * n_bytes), np.dtype(f"V{n_bytes}"))
    steps = tuple(step * n_bytes * (n > 1) for n, step in zip(shape, strides, strict=True))
    # All addresses are in bounds: the largest index was checked against the storage's length.
    return np.lib.stride_tricks.as_strided(span, shape, steps, writeable=False).tobytes()
