"""Check the conditions of a merge before writing, and the written file before it is renamed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from engine.adapters.merging.plan import MergedTensor
from engine.errors import AdapterError, BaseError, EngineError
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.tensors import padded
from engine.gguf.writer import ALIGNMENT
from engine.llama.quants import is_writable
from modelfiles.wording import shown


def require_types(plan: Sequence[MergedTensor]) -> None:
    """Raise if a tensor cannot be dequantised, or its new type cannot be written."""

    for tensor in plan:
        if tensor.is_copied:
            continue
        if not tensor.source.type.is_usable_in_adapter:
            raise BaseError(
                f"stores {shown(tensor.name)} as {tensor.source.type.name}, which holds no "
                "weights to change: use another base.",
                tensor.source.path,
            )
        if not is_writable(tensor.type):
            raise AdapterError(
                f"{shown(tensor.name)} cannot be written as {tensor.type.name}, which needs an "
                "importance matrix: name another type, such as --outtype f16 or --outtype q4_k."
            )


def require_other_file(out: Path, headers: Sequence[GgufHeader]) -> None:
    """Raise if the output is not a regular file, or is one of the files to merge."""
    if out.is_dir():
        raise EngineError(f"{out} is a folder: name the file to write.")
    if out.exists() and not out.is_file():
        raise EngineError(f"{out} is a device, pipe or socket: name another file to write.")
    for header in headers:
        for path in header.part_stamps:
            if out.exists() and out.samefile(path):
                raise EngineError(f"{out} is one of the merged files: name another to write.")


def require_space(out: Path, size_bytes: int) -> None:
    """Raise if the disk has less free space than the output needs."""
    try:
        free_bytes = shutil.disk_usage(out.parent).free
    except OSError as error:
        raise EngineError(f"The merged model {out} cannot be written: {error.strerror}.") from None
    if free_bytes < size_bytes:
        raise EngineError(
            f"{out} takes {size_bytes / 1e6:,.1f} MB, but its disk has {free_bytes / 1e6:,.1f} MB "
            "left: free some, or name another folder."
        )


def require_readable(written: Path, out: Path, plan: Sequence[MergedTensor]) -> None:
    """Raise unless the written file's tensor table and size match the plan."""
    found = read_header(written).tensors
    size_bytes = sum(padded(tensor.slot.size_bytes, ALIGNMENT) for tensor in plan)
    is_whole = written.stat().st_size - min(t.offset for t in found.values()) == size_bytes
    same = [(t.name, t.type, t.source.shape) for t in plan] == [
        (t.name, t.type, t.shape) for t in found.values()
    ]
    if not (is_whole and same):
        raise EngineError(f"{out} reads back differently than it was written: try another disk.")
