"""File locks between processes, which the operating system releases when the holder dies."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from modelfiles.errors import StoreError

# Errors of file systems without flock(); some network mounts have record locks instead.
_NOT_SUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL}

if sys.platform == "win32":
    import msvcrt

    def _acquire(descriptor: int, *, is_waiting: bool) -> bool:
        mode = msvcrt.LK_LOCK if is_waiting else msvcrt.LK_NBLCK
        while True:
            try:
                msvcrt.locking(descriptor, mode, 1)
            except OSError:
                # LK_LOCK gives up after ten seconds, so a waiting caller tries again.
                if not is_waiting:
                    return False
            else:
                return True

else:
    import fcntl

    def _acquire(descriptor: int, *, is_waiting: bool) -> bool:
        mode = fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB)
        try:
            try:
                fcntl.flock(descriptor, mode)
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                fcntl.lockf(descriptor, mode)
        except OSError as error:
            if not is_waiting and error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True


class FileLock:
    """An exclusive lock on a file, which is created if absent and never removed.

    Works between processes and between threads, since each `FileLock` opens the file itself. As a
    context manager, waits until the lock is free.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free, and return whether it was."""
        return self._take(is_waiting=False)

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FileLock:
        self._take(is_waiting=True)
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()

    def _take(self, *, is_waiting: bool) -> bool:
        if self._descriptor is not None:
            raise StoreError(f"the lock {self._path} is already held here")
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            is_taken = _acquire(descriptor, is_waiting=is_waiting)
        except BaseException:
            os.close(descriptor)
            raise
        if is_taken:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return is_taken
