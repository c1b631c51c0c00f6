"""Hash a model's files, to identify the base of a merged model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.disk.regular_file import open_regular
from engine.errors import GgufError
from engine.gguf.header import GgufHeader

_CHUNK_BYTES: Final = 8 * 2**20
_BLOB_NAME: Final = re.compile(r"sha256-([0-9a-f]{64})")


def model_sha256s(header: GgufHeader, on_bytes: Callable[[Path, int], None]) -> tuple[str, ...]:
    """Return the hex SHA-256 of each file of a model, in shard order.

    Does not read files of a model store, which are named after their content. Calls `on_bytes` with
    the file and the number of bytes done since the last call. Raises `GgufError` if a file cannot
    be read or changed since its header was read.
    """
    return tuple(_sha256(path, header, on_bytes) for path in header.part_stamps)


def _sha256(path: Path, header: GgufHeader, on_bytes: Callable[[Path, int], None]) -> str:
    stamp = header.part_stamps[path]
    named = _BLOB_NAME.fullmatch(path.resolve().name)
    if named is not None:
        on_bytes(path, stamp.size_bytes)
        return named[1]
    digest = hashlib.sha256()
    file, found = open_regular(path)
    with file:
        if found != stamp:
            raise GgufError("changed since its header was read: try again.", path)
        try:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                on_bytes(path, len(chunk))
        except OSError as error:
            raise GgufError(f"cannot be read: {error.strerror}.", path) from None
    return digest.hexdigest()
