"""Output that is there whole or not at all: written beside its place, synced, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from uuid import uuid4

from engine.errors import EngineError
from modelfiles.blobs import sync_folder


@contextmanager
def new_file(out: Path, what: str, *, is_durable: bool = True) -> Iterator[FileIO]:
    """Yield an unbuffered file beside `out` that takes its place when the block ends well.

    `what` names it in a message, as in `The adapter`. `is_durable` makes it outlive a power cut.
    Raises `EngineError` where it cannot be written; the file beside is gone however the block
    ends, and an older `out` stands until the new one is whole.
    """
    beside = _beside(out)
    try:
        with beside.open("xb", buffering=0) as file:
            yield file
            if is_durable:
                os.fsync(file.fileno())
        beside.replace(out)
        if is_durable:
            sync_folder(out.parent)
    except OSError as error:
        raise EngineError(f"{what} {out} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path, what: str) -> Iterator[Path]:
    """Yield an empty folder beside `out` that takes its place when the block ends well.

    An older folder `out` is removed first, so that files of both are never mixed. Raises as
    `new_file` does.
    """
    beside = _beside(out)
    try:
        beside.mkdir()
        yield beside
        for path in beside.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(beside)
        if out.is_dir() and not out.is_symlink():
            shutil.rmtree(out)
        beside.rename(out)
        sync_folder(out.parent)
    except OSError as error:
        raise EngineError(f"{what} {out} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _beside(out: Path) -> Path:
    return out.with_name(f".{out.name}.{uuid4().hex}.part")
