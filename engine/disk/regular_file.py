"""Open regular files, and notice when a file changes while it is read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Self

from engine.errors import EngineError, GgufError


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and modification time of a file, to detect changes between two reads."""

    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the stamp for a file's `stat` result."""
        return cls(status.st_size, status.st_mtime_ns)


def open_regular(
    path: Path,
    error_type: type[EngineError] = GgufError,
    *,
    folder: str = "is a folder: name the .gguf file in it",
    other: str = "is not a regular file: name a .gguf file",
) -> tuple[FileIO, FileStamp]:
    """Open a regular file for unbuffered reading; raise `error_type` with the reason on failure.

    `folder` and `other` complete the error message for a folder, and for a pipe or a device.
    """
    try:
        # Check the file type first: opening a named pipe blocks until a writer appears.
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            raise error_type(f"{folder if stat.S_ISDIR(kind) else other}.", path)
        file = path.open("rb", buffering=0)
        status = os.fstat(file.fileno())
    except FileNotFoundError:
        raise error_type("does not exist: check the path.", path) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise error_type(unreadable(error), path) from None
    return file, FileStamp.of(status)


def unreadable(error: OSError | ValueError) -> str:
    """Return the reason of an error about a path that the system cannot read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot be read: {reason}."


def require_unchanged(path: Path, stamp: FileStamp) -> None:
    """Raise `GgufError` if the file no longer has this size and modification time."""
    try:
        status = path.stat()
    except OSError as error:
        raise GgufError(f"went away while being read: {error.strerror}.", path) from None
    if FileStamp.of(status) != stamp:
        raise GgufError("changed while being read: wait until it is complete.", path)
