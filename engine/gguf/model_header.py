"""Read the headers of a model split into several GGUF files as one header."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from engine.disk.regular_file import FileStamp
from engine.errors import BaseError, GgufError
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.kinds import odd_kind
from engine.gguf.tensors import TensorInfo
from modelfiles.references.split_files import MAX_SHARDS, shards_of
from modelfiles.wording import shown


def shard_count(header: GgufHeader) -> int:
    """Return the number of shards of the model with this header; 1 if it is not split."""
    return max(header.integer("split.count") or 1, 1)


def read_model_header(path: Path) -> GgufHeader:
    """Read the header of a model, with the tensors of all its shards if it is split.

    `path` is the only file or the first shard, as llama.cpp expects it: `x-00001-of-00003.gguf`.
    Metadata, `data_offset` and `version` are those of the first shard, `file_size_bytes` is the
    sum. Raises `GgufError`, also if a shard is missing or the shards do not belong together.
    """
    first = read_header(path)
    count = shard_count(first)
    if count == 1:
        return first
    if count > MAX_SHARDS:
        raise GgufError(f"claims to be split over {count} files: download it again.", path)
    paths = _shard_paths(path, count, first.integer("split.no"))
    tensors: dict[str, TensorInfo] = {}
    stamps: dict[Path, FileStamp] = {}
    size_bytes = 0
    for number, part_path in enumerate(paths):
        try:
            part = first if number == 0 else _read_part(part_path, number, count)
        except GgufError as error:
            raise GgufError(f"cannot be used: {part_path.name} {error.reason}", path) from error
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise GgufError(
                    f"has the tensor {shown(name)} in two parts: download all parts of one "
                    "version.",
                    path,
                )
            tensors[name] = tensor
        stamps[part_path] = part.stamp
        size_bytes += part.file_size_bytes
    expected = first.integer("split.tensors.count")
    if expected is not None and expected != len(tensors):
        raise GgufError(
            f"has {len(tensors)} instead of {expected} tensors in its {count} parts: download all "
            "parts of one version.",
            path,
        )
    return replace(
        first,
        tensors=MappingProxyType(tensors),
        file_size_bytes=size_bytes,
        part_stamps=MappingProxyType(stamps),
    )


def _shard_paths(path: Path, count: int, number: int | None) -> tuple[Path, ...]:
    paths = shards_of(path)
    if len(paths) != count:
        raise GgufError(
            f"is one of {count} parts of a split model without the name of one: call the first "
            f"part …-00001-of-{count:05d}.gguf.",
            path,
        )
    if number != 0 or path != paths[0]:
        raise GgufError(f"is not the first part of its split model: name {paths[0]}.", path)
    return paths


def _read_part(path: Path, number: int, count: int) -> GgufHeader:
    part = read_header(path)
    if part.integer("split.no") != number or shard_count(part) != count:
        raise GgufError(
            f"is not part {number + 1} of {count} of its split model: download it again.", path
        )
    return part


def require_base(path: Path) -> GgufHeader:
    """Return the header of the base model in a GGUF file, with all shards of a split model.

    Raises `BaseError` if the file is an adapter or holds no model, `GgufError` if it is not a
    valid GGUF file.
    """
    header = read_model_header(path)
    if header.is_adapter:
        raise BaseError("is an adapter, not a model: name the base it was trained on.", path)
    odd = odd_kind(header)
    if odd is not None:
        raise BaseError(f"is {odd.what}, not a model: {odd.in_place_of_base}.", path)
    kind = header.text("general.type")
    if kind not in (None, "model"):
        raise BaseError(f"has the type {kind!r}, not a model: name a base model.", path)
    if not header.architecture:
        raise BaseError("names no architecture: name a base model.", path)
    if not header.tensors:
        raise BaseError("holds no weights: name a base model.", path)
    return header
