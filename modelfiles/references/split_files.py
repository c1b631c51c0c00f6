"""Names of models split into several GGUF files: `x-00001-of-00003.gguf` …"""

from __future__ import annotations

import re
from pathlib import Path

SHARD = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})(?=\.gguf\Z)")
"""The number and count of a shard in its file name."""
MAX_SHARDS = 1024


def shards_of(path: Path) -> tuple[Path, ...]:
    """Return the paths of all shards of a file's model, in order; `path` alone if unsplit.

    Only looks at the file name; the shards need not exist.
    """
    match = SHARD.search(path.name)
    count = int(match["count"]) if match is not None else 1
    if match is None or not 1 < count <= MAX_SHARDS:
        return (path,)
    prefix = path.name[: match.start()]
    return tuple(path.with_name(shard_name(prefix, n, count)) for n in range(1, count + 1))


def shard_name(prefix: str, number: int, count: int) -> str:
    """Return the file name that llama.cpp expects for a shard, numbered from 1."""
    return f"{prefix}-{number:05d}-of-{count:05d}.gguf"


def missing_shards(path: Path) -> tuple[Path, ...]:
    """Return the shards of the model that are not files."""
    return tuple(part for part in shards_of(path) if not part.is_file())
