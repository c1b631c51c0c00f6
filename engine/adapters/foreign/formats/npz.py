"""Read the arrays of an .npz archive, the format in which older versions of MLX saved adapters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from engine.adapters.foreign.formats.tensor import MAX_DIMENSIONS, FileTensor
from engine.adapters.foreign.formats.untrusted_file import damaged, require_content
from engine.adapters.foreign.formats.zip_entries import ZipEntry, read_zip
from engine.errors import AdapterError
from modelfiles.wording import shown

_DTYPES: Final = {
    "<f4": ("F32", 4),
    "<f2": ("F16", 2),
    "<f8": ("F64", 8),
    "|V2": ("BF16", 2),  # numpy has no bfloat16, so MLX writes its bits as two raw bytes
    "<V2": ("BF16", 2),
}
_HEADER: Final = re.compile(
    rb"\{'descr': '([^']{2,8})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\),? ?\} *\n?"
)
_MAX_HEADER_BYTES: Final = 4096


def read_npz(path: Path) -> Mapping[str, FileTensor]:
    """Return the arrays by name; raise `AdapterError` if the file is damaged.

    Reads only headers, and refuses arrays of objects, which are pickles.
    """
    if not require_content(path).startswith(b"PK"):
        raise damaged(path, "it is not a ZIP archive, as .npz files are")
    return {
        name.removesuffix(".npy"): _array(path, name.removesuffix(".npy"), entry)
        for name, entry in read_zip(path).items()
    }


def _array(path: Path, name: str, entry: ZipEntry) -> FileTensor:
    head = entry.read(0, min(entry.size_bytes, _MAX_HEADER_BYTES))
    n_length = 2 if head[6:7] == b"\x01" else 4
    begin = 8 + n_length
    end = begin + int.from_bytes(head[8:begin], "little")
    match = _HEADER.fullmatch(head[begin:end])
    if head[:6] != b"\x93NUMPY" or match is None or end > len(head):
        raise damaged(path, f"{shown(name)} is not a plain numpy array")
    known = _DTYPES.get(match[1].decode("ascii", errors="replace"))
    if known is None:
        raise AdapterError(
            f"holds {shown(name)} as {shown(match[1].decode('ascii', errors='replace'))}, "
            "not as floats: save the adapter again in float32 or float16.",
            path,
        )
    shape = tuple(int(n) for n in match[3].decode().replace(" ", "").split(",") if n)
    dtype, n_bytes = known
    for n in shape:
        n_bytes *= n
    if len(shape) > MAX_DIMENSIONS or n_bytes != entry.size_bytes - end:
        raise damaged(path, f"the size of {shown(name)} does not match its shape")
    read = partial(entry.read, end, n_bytes)
    if match[2] == b"True":  # column-major, as numpy stores a transposed matrix
        read = partial(_rows_first, read, shape, known[1])
    return FileTensor(path, name, shape, dtype, read)


def _rows_first(read: Callable[[], bytes], shape: tuple[int, ...], n_bytes: int) -> bytes:
    return np.frombuffer(read(), f"V{n_bytes}").reshape(shape, order="F").tobytes()
