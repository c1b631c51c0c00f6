"""Read the header of a safetensors file: names, shapes and positions of its tensors.

Source of the format: the specification in huggingface/safetensors. Refuses everything that its
reader refuses (holes, overlaps, a header over 100 MB, bytes after the last tensor).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeGuard

from engine.adapters.foreign.formats.json_text import JsonError, parse_object
from engine.adapters.foreign.formats.tensor import MAX_DIMENSIONS, FileTensor
from engine.adapters.foreign.formats.untrusted_file import (
    damaged,
    open_file,
    read_exactly,
    read_span,
    require_content,
)
from engine.errors import AdapterError
from modelfiles.wording import shown

MAX_HEADER_BYTES: Final = 100_000_000
_FIELDS: Final = frozenset(("dtype", "shape", "data_offsets"))
_BYTES_PER_VALUE: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}


def read_safetensors(path: Path) -> Mapping[str, FileTensor]:
    """Return the tensors of a safetensors file in the order of their data.

    Reads only the header. Raises `AdapterError` if the file cannot be read or is inconsistent, for
    example if a tensor's data lies outside the file.
    """
    require_content(path)
    file, stamp = open_file(path)
    with file:
        size = stamp.size_bytes
        if size < 8:
            raise damaged(path, f"it has {size} bytes, too few for a safetensors file")
        (n_header,) = struct.unpack("<Q", read_exactly(path, file, 0, 8))
        if n_header > min(MAX_HEADER_BYTES, size - 8):
            raise damaged(
                path,
                f"its header would be {n_header} bytes long in a file of {size}, so it is cut "
                "short or no safetensors file",
            )
        text = read_exactly(path, file, 8, n_header)
    if not text.startswith(b"{"):
        raise damaged(path, f"its header begins with {text[:4]!r}, not with a JSON object")
    try:
        header = parse_object(text)
    except JsonError as fault:
        raise damaged(path, f"its header cannot be understood, {fault}") from None
    end, begin = 0, 8 + n_header
    tensors: dict[str, FileTensor] = {}
    for name, shape, dtype, start, stop in sorted(_entries(path, header), key=lambda e: e[3:]):
        if start != end:
            raise damaged(
                path,
                f"the data of {shown(name)} begins at byte {start}, but that before it ends at "
                f"byte {end}",
            )
        end = stop
        read = partial(read_span, path, stamp, begin + start, stop - start)
        tensors[name] = FileTensor(path, name, shape, dtype, read)
    if begin + end != size:
        raise damaged(path, f"its tensors end at byte {begin + end}, but the file has {size} bytes")
    return tensors


_Entry = tuple[str, tuple[int, ...], str, int, int]


def _entries(path: Path, header: Mapping[str, object]) -> list[_Entry]:
    entries: list[_Entry] = []
    for name, entry in header.items():
        if name == "__metadata__":
            if not isinstance(entry, dict):
                raise damaged(path, "its metadata is not a JSON object")
            continue
        if not isinstance(entry, dict) or not entry.keys() >= _FIELDS:
            raise damaged(path, f"its entry for {shown(name)} lacks some of its three fields")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _BYTES_PER_VALUE:
            raise AdapterError(
                f"holds {shown(name)} in the unknown type {shown(str(dtype))}: save the "
                "adapter again in float32, float16 or bfloat16.",
                path,
            )
        if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
            raise damaged(path, f"the shape of {shown(name)} makes no sense")
        if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise damaged(path, f"the offsets of {shown(name)} make no sense")
        n_bytes = _BYTES_PER_VALUE[dtype]
        for n in shape:
            n_bytes *= n
        if n_bytes != offsets[1] - offsets[0]:
            raise damaged(
                path,
                f"{shown(name)} has {offsets[1] - offsets[0]} bytes where its shape and type "
                f"need {n_bytes}",
            )
        entries.append((name, tuple(shape), dtype, offsets[0], offsets[1]))
    return entries


def _are_sizes(value: object) -> TypeGuard[list[int]]:
    """Return whether `value` is a list of integers from 0 to 2**63 - 1."""
    return isinstance(value, list) and all(
        type(n) is int and 0 <= n < 2**63  # `type`: True is an int to isinstance
        for n in value
    )
