"""Find all files of weights that are stored in several, by their index or their numbers.

Source: `huggingface_hub.split_torch_state_dict_into_shards`: `x-00001-of-00002.safetensors` …, and
`x.safetensors.index.json`, whose `weight_map` names the file of every tensor; `.bin` alike. One
shard alone is a part of an adapter, which converts without a fault and does half of what it should.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.adapters.foreign.formats.json_text import JsonError, parse_object
from engine.adapters.foreign.formats.untrusted_file import damaged, read_small
from engine.errors import AdapterError
from modelfiles.wording import listed, shown

if TYPE_CHECKING:
    from engine.adapters.foreign.formats.tensor import FileTensor  # imports numpy

INDEX: Final = ".index.json"
_SHARD: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
_MAX_INDEX_BYTES: Final = 32 * 1024 * 1024
_MAX_SHARDS: Final = 1024
_MAX_LISTED: Final = 4
_AGAIN: Final = "download or copy all files of one version"


@dataclass(frozen=True, slots=True)
class Weights:
    """The files that hold an adapter's tensors together."""

    name: str
    """Name of the file, or that it would have if it were not split."""
    files: tuple[Path, ...]
    index: Path | None = None
    tensors: Mapping[str, str] | None = None
    """The name of each tensor's file by the index; None without one."""

    def require_whole(self, found: Mapping[Path, Mapping[str, FileTensor]]) -> None:
        """Raise `AdapterError` if tensors are missing by the index, or in two files."""
        seen: dict[str, Path] = {}
        for file, tensors in found.items():
            for name in tensors:
                if name in seen:
                    raise AdapterError(
                        f"has {shown(name)}, as {seen[name].name} has: {_AGAIN}.", file
                    )
                seen[name] = file
        if self.tensors is None:
            return
        missing = [name for name in self.tensors if name not in seen]
        strange = [name for name in seen if name not in self.tensors]
        if missing or strange:
            does = "lack" if missing else "hold, unknown to it,"
            raise AdapterError(
                f"lists weights that {does} {shown((missing or strange)[0])}"
                f"{_more(missing or strange)}: {_AGAIN}.",
                self.index,
            )


def whole_name(name: str) -> str:
    """Return the name that the file would have that `name` is a part or the index of."""
    name = name.removesuffix(INDEX)
    shard = _SHARD.fullmatch(name)
    return f"{shard['stem']}{shard['suffix']}" if shard else name


def missing_parts(names: Collection[str]) -> tuple[str, ...]:
    """Return the missing ones of the parts that `names` are numbered as, all of one file.

    Parts of another number, left by an older version, count only if no number is complete. Raises
    `AdapterError` for impossible numbers.
    """
    shards = [shard for name in sorted(names) if (shard := _SHARD.fullmatch(name))]
    expected = {shard["count"]: _numbered(Path(shard.string), shard) for shard in shards}
    missing = [tuple(part for part in parts if part not in names) for parts in expected.values()]
    return min(missing, key=len, default=())


def weights_at(path: Path) -> Weights:
    """Return the weights that the file at `path` is or is a part of.

    Raises `AdapterError` if a part is missing, or the index is damaged.
    """
    shard, name = _SHARD.fullmatch(path.name), whole_name(path.name)
    index = path.with_name(f"{name}{INDEX}")
    listing = _listing(index) if index.is_file() else None
    if shard is None and not path.name.endswith(INDEX):
        return Weights(name, (path,), index if listing else None, listing)
    if listing is not None:
        names = sorted(set(listing.values()))
        if shard and path.name not in names:
            raise AdapterError(f"is a part that {index.name} does not list: {_AGAIN}.", path)
    elif shard is not None:
        names = _numbered(path, shard)
    else:
        raise AdapterError("does not exist: check the path.", path)
    files = tuple(path.with_name(part) for part in names)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise AdapterError(
            f"belongs to {len(files)} parts that lack "
            f"{listed([shown(part) for part in missing], _MAX_LISTED)}: download them too.",
            path,
        )
    return Weights(name, files, index if listing else None, listing)


def weights_in(folder: Path, name: str) -> Weights | None:
    """Return the weights of this name in a folder, whole or split, or None.

    Raises `AdapterError` as `weights_at` does.
    """
    path = folder / name
    if path.exists():
        return weights_at(path)
    index = folder / f"{name}{INDEX}"
    if index.is_file():
        return weights_at(index)
    shards = sorted(folder.glob(f"{path.stem}-?????-of-?????{path.suffix}"))
    return weights_at(shards[0]) if shards else None


def _numbered(path: Path, shard: re.Match[str]) -> list[str]:
    count = int(shard["count"])
    if not 1 <= int(shard["number"]) <= count <= _MAX_SHARDS:
        raise AdapterError(f"has a number that no part can have: {_AGAIN}.", path)
    return [
        f"{shard['stem']}-{number:05d}-of-{count:05d}{shard['suffix']}"
        for number in range(1, count + 1)
    ]


def _listing(index: Path) -> Mapping[str, str]:
    """Return the name of the file of each tensor."""
    try:
        listing = parse_object(read_small(index, _MAX_INDEX_BYTES)).get("weight_map")
    except JsonError as fault:
        raise damaged(index, str(fault)) from None
    if not isinstance(listing, dict) or not listing:
        raise damaged(index, "it has no weight_map")
    for tensor, file in listing.items():
        if not isinstance(file, str) or Path(file).name != file or not file.isprintable():
            raise damaged(index, f"it gives {shown(tensor)} no file beside it")
    if len(set(listing.values())) > _MAX_SHARDS:
        raise damaged(index, f"it lists more than {_MAX_SHARDS} files")
    return listing


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
