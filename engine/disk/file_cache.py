"""GGUF files made once and kept: verified before use, the least used removed first.

Several processes may share the folder. A build happens in a folder of its own below `staging`,
locked while its process lives; what a killed process left there goes with the next build.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from modelfiles.state.home import make_private
from modelfiles.state.locks import FileLock
from modelfiles.state.staging import staging_folder, sync_folder


class GgufCache:
    """GGUF files in one folder, within a budget of bytes.

    Nothing is written until something is built. Methods raise `OSError` where the folder cannot be
    used.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes

    @property
    def spared_s(self) -> float:
        """For how long a file is kept after its last use, whatever the budget."""
        raise NotImplementedError

    def is_sound(self, path: Path) -> bool:
        """Whether a file is what was built."""
        raise NotImplementedError

    def path(self, key: str) -> Path:
        """Return where the file of that key is, if there is one."""
        return self.folder / f"{key}.gguf"

    def find(self, key: str) -> Path | None:
        """Return the file of that key if it is there and intact, and count it as used.

        The whole file is read for its checksums: 0.14 s for 180 MB in the page cache. A damaged one
        is removed.
        """
        path = self.path(key)
        if not path.is_file():
            return None
        if not self.is_sound(path):
            path.unlink(missing_ok=True)
            return None
        self.touch(path)
        return path

    def touch(self, path: Path) -> None:
        """Count a file as used now, by its time of access.

        The time of modification stays, by which a reader would think that the content changed.
        """
        with suppress(OSError):  # another process may have removed it
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    def build(self, key: str, write: Callable[[Path], object]) -> Path:
        """Have `write` make a file at the path it is given, and keep that under `key`.

        Then removes what was used least recently, down to the budget, but never the new file.
        Whatever `write` raises leaves the cache as it was.
        """
        staging = self.folder / "staging"
        make_private(staging)
        path = self.path(key)
        with staging_folder(staging, FileLock(self.folder / "lock")) as folder:
            made = folder / path.name
            write(made)
            # Two processes that build one key make equal bytes: the last one wins.
            os.replace(made, path)
        sync_folder(self.folder)
        self._evict(path)
        return path

    def size_bytes(self) -> int:
        """Return what all files together take."""
        return sum(size for _, size, _ in self._files())

    def _evict(self, kept: Path) -> None:
        files = self._files()
        excess = sum(size for _, size, _ in files) - self.budget_bytes
        latest = time.time() - self.spared_s
        for used_s, size_bytes, path in sorted(files):
            if excess <= 0 or used_s > latest:
                return
            if path != kept:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                    excess -= size_bytes

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return when each file was used last, its size and its path."""
        found = []
        for path in self.folder.glob("*.gguf"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
        return found
