"""Cache built GGUF files in a folder: verified before use, least recently used removed first.

Several processes may share the folder. Each build uses its own folder below `staging`, locked
while its process lives; folders left by killed processes are removed by the next build.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from modelfiles.state.home import make_private
from modelfiles.state.locks import FileLock
from modelfiles.state.staging import staging_folder, sync_folder


class GgufCache:
    """GGUF files in one folder, within a budget of bytes.

    The folder is created by the first build. Methods raise `OSError` if it cannot be used.
    """

    spared_s: ClassVar[float]
    """Seconds for which a file is kept after its last use, whatever the budget."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes

    @staticmethod
    def is_sound(path: Path) -> bool:
        """Return whether a file is intact."""
        raise NotImplementedError

    def path(self, key: str) -> Path:
        """Return the path of the file of that key, whether or not it exists."""
        return self.folder / f"{key}.gguf"

    def find(self, key: str) -> Path | None:
        """Return the file of that key if it exists and is intact, and mark it as used.

        Verifying checksums reads the whole file: 0.14 s for 180 MB in the page cache. A damaged
        file is removed.
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
        """Mark a file as used now by setting its access time.

        The modification time stays, since readers take a new one for changed content.
        """
        with suppress(OSError):  # another process may have removed it
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    def build(self, key: str, write: Callable[[Path], object]) -> Path:
        """Call `write` with a path to create a file at, and keep that file under `key`.

        Then removes the least recently used files down to the budget, but never the new one. If
        `write` raises, the cache is unchanged.
        """
        staging = self.folder / "staging"
        make_private(staging)
        path = self.path(key)
        with staging_folder(staging, FileLock(self.folder / "lock")) as folder:
            made = folder / path.name
            write(made)
            # Two processes that build the same key write equal bytes, so the last one may win.
            os.replace(made, path)
        sync_folder(self.folder)
        self._evict(path)
        return path

    def size_bytes(self) -> int:
        """Return the total size of all files."""
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
        """Return the time of last use, size and path of each file."""
        found = []
        for path in self.folder.glob("*.gguf"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
        return found
