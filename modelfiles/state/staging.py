"""Staging folders, where a change of the store is prepared before one rename makes it visible."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from modelfiles.state.locks import FileLock


@contextmanager
def staging_folder(parent: Path, store_lock: FileLock) -> Iterator[Path]:
    """Yield a new folder below `parent`, and delete it on exit.

    The folder stays locked by this process. Folders whose lock is free were left by processes
    that died, and are deleted first. Creation and deletion happen under `store_lock`, so that no
    process deletes a folder between its creation and its locking.
    """
    folder = parent / uuid4().hex
    lock = FileLock(folder / "lock")
    with store_lock:
        for leftover in list(parent.iterdir()):
            _sweep(leftover)
        folder.mkdir(mode=0o700)
        lock.try_acquire()
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Flush renames in `folder` to disk, so that they survive a power cut; no-op on Windows."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, *parts: bytes | memoryview, beside: Path, mode: int = 0o666) -> None:
    """Write a file whole or not at all: write and sync `beside`, then rename it to `path`.

    A file `beside` that a killed process left is overwritten. Raises `OSError`, with no file left
    `beside`.
    """
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        with open(os.open(beside, flags, mode), "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _sweep(leftover: Path) -> None:
    lock = FileLock(leftover / "lock")
    # Its owner may be deleting the folder at the same time.
    with suppress(FileNotFoundError, NotADirectoryError):
        if lock.try_acquire():
            lock.release()
            shutil.rmtree(leftover, ignore_errors=True)
