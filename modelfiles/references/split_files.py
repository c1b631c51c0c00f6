"""Names of models split into several GGUF files: `x-00001-of-00003.gguf` …"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf\Z", re.DOTALL)
_MAX_COUNT = 1024


def shards_of(path: Path) -> tuple[Path, ...]:
    """Return the paths of all shards of a file's model, in order; `path` alone if unsplit.

    Only looks at the file name; the shards need not exist.
    """
    match = _NAME.match(path.name)
    count = int(match["count"]) if match is not None else 1
    if match is None or not 1 < count <= _MAX_COUNT:
        return (path,)
    return tuple(path.with_name(shard_name(match["prefix"], n, count)) for n in range(1, count + 1))


def shard_name(prefix: str, number: int, count: int) -> str:
    """Return the file name that llama.cpp expects for a shard, numbered from 1."""
    return f"{prefix}-{number:05d}-of-{count:05d}.gguf"


def missing_shards(path: Path) -> tuple[Path, ...]:
    """Return the shards of the model that are not files."""
    return tuple(part for part in shards_of(path) if not part.is_file())
