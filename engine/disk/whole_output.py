"""Write files and folders atomically: to a temporary sibling, synced, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from io import FileIO
from os.path import samestat
from pathlib import Path
from typing import Any
from uuid import uuid4

from engine.errors import EngineError
from modelfiles.state.locks import FileLock
from modelfiles.state.staging import sync_folder


@contextmanager
def new_file(out: Path, what: str, *, is_durable: bool = True) -> Iterator[FileIO]:
    """Yield an unbuffered temporary file that replaces `out` when the block ends without an error.

    First removes what killed processes left of the same output (`sweep_parts`). `what` names the
    file in error messages, as in `The adapter`. `is_durable` syncs it to survive a power cut.
    Raises `EngineError` if it cannot be written. Always removes the temporary file, and keeps an
    older `out` until the new one is complete.
    """
    sweep_parts(out)
    beside = _beside(out)
    lock = FileLock(beside)  # tells `sweep_parts` that the file is still being written
    try:
        with beside.open("xb", buffering=0) as file:
            _claim(lock, lambda: samestat(beside.stat(), os.fstat(file.fileno())))
            yield file
            if is_durable:
                os.fsync(file.fileno())
        beside.replace(out)
        if is_durable:
            sync_folder(out.parent)
    except OSError as error:
        raise EngineError(f"{what} {out} cannot be written: {error.strerror}.") from None
    finally:
        lock.release()
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def sweep_parts(out: Path) -> None:
    """Remove temporary files and folders that killed processes left while writing `out`.

    Skips locked ones, which are still being written.
    """
    for part in out.parent.glob(f".{escape(out.name)}.{'[0-9a-f]' * 32}.part"):
        with suppress(OSError):
            if not part.is_symlink() and (part.is_file() or part.is_dir()):
                _sweep(part)


def write_whole(file: FileIO, data: Any) -> None:
    """Write a whole contiguous buffer; one write to an unbuffered file may accept only a part."""
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) :]


@contextmanager
def new_folder(out: Path, what: str) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces `out` when the block ends without an error.

    Keeps an older folder `out` until then and replaces it as a whole, so that files of both never
    mix. Raises as `new_file` does.
    """
    sweep_parts(out)
    beside = _beside(out)
    content, older = beside / "content", beside / "older"
    lock = FileLock(_lock_in(beside))
    try:
        beside.mkdir()
        _claim(lock, beside.is_dir)
        content.mkdir()
        yield content
        for path in content.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(content)
        _swap(content, out, older)
        sync_folder(out.parent)
    except OSError as error:
        raise EngineError(f"{what} {out} cannot be written: {error.strerror}.") from None
    finally:
        lock.release()
        shutil.rmtree(beside, ignore_errors=True)


def _claim(lock: FileLock, is_there: Callable[[], bool]) -> None:
    """Lock a new temporary file or folder; raise `OSError` if it was swept in the meantime.

    Before the lock is taken, another process that starts to write the same output may sweep it.
    """
    try:
        is_taken = lock.try_acquire()
    except FileNotFoundError:
        is_taken = False
    except OSError:  # a file system without locks, where nothing is swept
        return
    if not (is_taken and is_there()):
        raise BlockingIOError(errno.EAGAIN, "another process writes it, too")


def _swap(content: Path, out: Path, older: Path) -> None:
    """Move `content` to `out`, after moving an existing `out` to `older`."""
    has_older = out.is_dir() and not out.is_symlink()
    if has_older:
        out.rename(older)  # a folder cannot be renamed over one that is not empty
    try:
        content.rename(out)
    except BaseException:
        if has_older:
            older.rename(out)
        raise


def _sweep(part: Path) -> None:
    is_folder = part.is_dir()
    lock = FileLock(_lock_in(part) if is_folder else part)
    if lock.try_acquire():
        try:
            if is_folder:
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
        finally:
            lock.release()


def _lock_in(folder: Path) -> Path:
    return folder / "lock"


def _beside(out: Path) -> Path:
    return out.with_name(f".{out.name}.{uuid4().hex}.part")
