"""Read an adapter's files, guarding against truncated, hostile or changing ones.

Uses ordinary reads instead of a memory map: touching a page beyond the end of a file that was
truncated after mapping kills the process with SIGBUS.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from engine.disk.regular_file import FileStamp, open_regular, unreadable
from engine.errors import AdapterError
from modelfiles.references.signatures import N_BYTES, signature_of


def open_file(path: Path) -> tuple[FileIO, FileStamp]:
    """Open a regular file for unbuffered reading; raise `AdapterError` with the reason if not."""
    irregular = "is not a regular file: name an adapter's folder or weights"
    return open_regular(path, AdapterError, folder=irregular, other=irregular)


def read_span(path: Path, stamp: FileStamp, offset: int, n_bytes: int) -> bytes:
    """Read bytes of a file; raise `AdapterError` if it no longer matches `stamp`."""
    file, now = open_file(path)
    with file:
        _require_equal(path, now, stamp)
        return read_exactly(path, file, offset, n_bytes)


def read_exactly(path: Path, file: FileIO, offset: int, n_bytes: int) -> bytes:
    """Read `n_bytes` from `offset` on; raise `AdapterError` if the file ends before."""
    parts: list[bytes] = []
    try:
        file.seek(offset)
        while n_bytes > 0 and (part := file.read(n_bytes)):
            parts.append(part)
            n_bytes -= len(part)
    except OSError as error:
        raise AdapterError(unreadable(error), path) from None
    if n_bytes:
        raise damaged(path, f"it ends {n_bytes} bytes too early")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def require_content(path: Path) -> bytes:
    """Return the first 512 bytes; raise `AdapterError` if empty or no weights by its signature."""
    file, _ = open_file(path)
    with file:
        try:
            head = file.read(N_BYTES) or b""
        except OSError as error:
            raise AdapterError(unreadable(error), path) from None
    if not head:
        raise AdapterError("is empty: download or copy it again.", path)
    signature = signature_of(head)
    if signature is not None:
        raise AdapterError(str(signature), path)
    return head


def damaged(path: Path, fault: str) -> AdapterError:
    """Return the error for a file that contradicts itself."""
    return AdapterError(f"is damaged: {fault}; download or copy it again.", path)


def read_small(path: Path, max_bytes: int) -> bytes:
    """Read a whole file; raise `AdapterError` if it is larger than `max_bytes`."""
    require_content(path)
    file, stamp = open_file(path)
    with file:
        if stamp.size_bytes > max_bytes:
            raise AdapterError(
                f"has {stamp.size_bytes} bytes, over the {max_bytes} that make sense: check that "
                "it is the adapter's own file.",
                path,
            )
        return read_exactly(path, file, 0, stamp.size_bytes)


def content_hash(files: Sequence[Path]) -> str:
    """Return one hex SHA-256 digest over the contents of several files, in that order.

    Streams the files and hashes without the GIL. Raises `AdapterError` if a file cannot be read or
    changes meanwhile.
    """
    whole = hashlib.sha256()
    for path in files:
        file, stamp = open_file(path)
        with file:
            try:
                whole.update(hashlib.file_digest(file, "sha256").digest())
                status = os.fstat(file.fileno())
            except OSError as error:
                raise AdapterError(unreadable(error), path) from None
        _require_equal(path, FileStamp.of(status), stamp)
    return whole.hexdigest()


def _require_equal(path: Path, now: FileStamp, before: FileStamp) -> None:
    if now != before:
        raise AdapterError("changed while being read: wait until it is complete.", path)
