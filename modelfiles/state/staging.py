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
    """Yield a fresh folder below `parent` that is gone afterwards, whatever happened.

    The folder stays locked by this process. A folder whose lock is free was left by a process
    that died, and is swept away here; making and sweeping happen under `store_lock`, so nobody
    sweeps a folder between its making and its locking.
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
    """Make renames in `folder` last through a power cut, where folders can be synced."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(leftover: Path) -> None:
    lock = FileLock(leftover / "lock")
    # Its owner may be removing the folder at this very moment.
    with suppress(FileNotFoundError, NotADirectoryError):
        if lock.try_acquire():
            lock.release()
            shutil.rmtree(leftover, ignore_errors=True)
