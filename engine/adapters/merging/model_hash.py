"""The content of a model's files, by which a merged model names its base."""

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
    """Return the hex digest of each file of a model, in the order of its parts.

    A file of a model store is named after its content and is not read. `on_bytes` is told the file
    and how many bytes of it were done since the last time. Raises `GgufError` if a file cannot be
    read, or is no longer the one whose header was read.
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
            raise GgufError(f"{path} changed since its header was read: try again.")
        try:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                on_bytes(path, len(chunk))
        except OSError as error:
            raise GgufError(f"{path} cannot be read: {error.strerror}.") from None
    return digest.hexdigest()
