"""Content-addressed storage: bring a user's file into the store as `blobs/sha256-<hex>`.

Three ways are tried, cheapest first:

1. a reflink (on Linux only, on file systems with FICLONE such as Btrfs and XFS): copies no bytes,
   and a later edit of the user's file does not change the blob;
2. a hard link, for files of `LINK_FROM_BYTES` and more: copies no bytes, but an edit *in place* of
   the user's file also changes the blob, which `is_intact` detects when the model is read;
3. a copy.

Small files are not hard-linked: they are the adapters, which training and conversion scripts
overwrite in place, and copying 64 MiB takes a fraction of a second. The SHA-256 is always that of
the bytes that end up in the store.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO
from uuid import uuid4

import msgspec

from modelfiles.references.split_files import shard_name, shards_of

LINK_FROM_BYTES = 64 * 2**20
CHUNK_BYTES = 2**20

_BLOB_NAME = re.compile(r"sha256-[0-9a-f]{64}\Z")
# From linux/fs.h: make one file share the other's extents.
_FICLONE = 0x40049409


class Blob(msgspec.Struct, frozen=True):
    """A file of the store, identified by the digest of its content."""

    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def file_name(self) -> str:
        """The name of its file in the blob folder."""
        return self.digest.replace(":", "-")


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """Progress of reading and copying a model's files."""

    source: Path
    """The file being read."""
    done_bytes: int
    """Over all files; decreases when a file that was hashed must be copied after all."""
    total_bytes: int


def hash_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> Blob:
    """Return digest and size of a file; `on_bytes` receives the number of bytes read so far."""
    return _hashed(path, on_bytes or (lambda _: None))


def _hashed(path: Path, on_bytes: Callable[[int], None], copy: BinaryIO | None = None) -> Blob:
    digest = hashlib.sha256()
    n_read = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            if copy is not None:
                copy.write(chunk)
            digest.update(chunk)
            n_read += len(chunk)
            on_bytes(n_read)
    return Blob(f"sha256:{digest.hexdigest()}", n_read)


class BlobFolder:
    """The blob folder and, beside it, the folder of links to the shards of split bases."""

    def __init__(self, folder: Path, link_from_bytes: int = LINK_FROM_BYTES) -> None:
        self.folder = folder
        self._link_from_bytes = link_from_bytes

    def path_of(self, blob: Blob) -> Path:
        """Return the path of the blob's file, which need not exist."""
        return self.folder / blob.file_name

    def base_path(self, parts: Sequence[Blob]) -> Path:
        """Return the file llama.cpp opens for a base: its blob, or the link to its first shard.

        llama.cpp finds the shards of a split model by name, so `link_split` creates a folder of
        links with shard names.
        """
        if len(parts) == 1:
            return self.path_of(parts[0])
        return self._split_folder(parts) / shard_name("base", 1, len(parts))

    def has_split(self, parts: Sequence[Blob]) -> bool:
        """Return whether every shard of a base has a link that leads to a file of its size."""
        return len(parts) == 1 or all(
            link.exists() and link.stat().st_size == blob.size_bytes
            for link, blob in zip(shards_of(self.base_path(parts)), parts, strict=True)
        )

    def link_split(self, parts: Sequence[Blob]) -> None:
        """Create the links that `base_path` refers to, if the base is split."""
        if self.has_split(parts):
            return
        self._split_folder(parts).mkdir(parents=True, exist_ok=True)
        for link, blob in zip(shards_of(self.base_path(parts)), parts, strict=True):
            link.unlink(missing_ok=True)
            if not _is_linked(self.path_of(blob), link):
                link.symlink_to(Path("..", "..", self.folder.name, blob.file_name))

    def is_intact(self, blob: Blob, since_ns: int) -> bool:
        """Return whether the blob exists and is unchanged since `since_ns`.

        `since_ns` is the manifest's modification time in nanoseconds. A file modified later is
        hashed again; for others only the size is compared, since reading gigabytes before every
        chat would cost more than the chat.
        """
        try:
            status = self.path_of(blob).stat()
        except FileNotFoundError:
            return False
        if status.st_size != blob.size_bytes:
            return False
        return status.st_mtime_ns <= since_ns or hash_file(self.path_of(blob)) == blob

    def stage(self, source: Path, staging: Path, on_bytes: Callable[[int], None]) -> StagedBlob:
        """Link or copy the content of `source` to a new file in `staging`.

        `on_bytes` receives the number of the file's bytes done so far. Raises `OSError`.
        """
        source = source.resolve()
        target = staging / uuid4().hex
        if (known := self._known(source)) is not None and _is_linked(source, target):
            on_bytes(known.size_bytes)
            return StagedBlob(known, target)
        size_bytes = source.stat().st_size
        is_large = size_bytes >= self._link_from_bytes
        if _is_reflinked(source, target) or (is_large and _is_linked(source, target)):
            return StagedBlob(hash_file(target, on_bytes), target)
        if self._has_blob_of_size(size_bytes):
            # Most likely the same file again, and reading it twice is cheaper than writing it.
            blob = hash_file(source, on_bytes)
            mine = self.path_of(blob)
            if mine.exists() and _is_linked(mine, target):
                if hash_file(target) == blob:
                    return StagedBlob(blob, target)
                target.unlink()
        return StagedBlob(_copy(source, target, on_bytes), target)

    def adopt(self, staged: StagedBlob) -> None:
        """Move a staged file to its place, replacing an existing blob of the same digest."""
        place = self.path_of(staged.blob)
        if place.exists() and place.samefile(staged.path):
            # rename() between two hard links of one file does nothing.
            staged.path.unlink()
        else:
            os.replace(staged.path, place)

    def remove_all_but(self, used: set[str], bases: Iterable[Sequence[Blob]] = ()) -> None:
        """Delete blobs whose file names are not in `used`, and split links not of `bases`."""
        kept = {self._split_folder(parts) for parts in bases if len(parts) > 1}
        for folder in list(self._splits.glob("*")):
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)
        for path in list(self.folder.iterdir()):
            if _BLOB_NAME.match(path.name) and path.name not in used:
                # A file that cannot be deleted now (Windows keeps mapped files) goes next time.
                with suppress(OSError):
                    path.unlink()

    @property
    def _splits(self) -> Path:
        return self.folder.with_name("splits")

    def _split_folder(self, parts: Sequence[Blob]) -> Path:
        digests = "".join(blob.digest for blob in parts)
        return self._splits / hashlib.sha256(digests.encode()).hexdigest()[:32]

    def _known(self, source: Path) -> Blob | None:
        if source.parent != self.folder.resolve() or not _BLOB_NAME.match(source.name):
            return None
        return Blob(source.name.replace("-", ":"), source.stat().st_size)

    def _has_blob_of_size(self, size_bytes: int) -> bool:
        return any(
            _BLOB_NAME.match(entry.name) and entry.stat().st_size == size_bytes
            for entry in os.scandir(self.folder)
        )


@dataclass(frozen=True, slots=True)
class StagedBlob:
    """A blob whose content is in a staging folder under a temporary name."""

    blob: Blob
    path: Path


def _is_linked(source: Path, target: Path) -> bool:
    """Create a hard link; return whether the file system allowed it."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _is_reflinked(source: Path, target: Path) -> bool:
    """Clone a file on a copy-on-write file system; else return False and leave no file."""
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            is_cloned = False
        else:
            os.fsync(writer.fileno())
            is_cloned = True
    if is_cloned:
        _protect(target)
    else:
        target.unlink()
    return is_cloned


def _copy(source: Path, target: Path, on_bytes: Callable[[int], None]) -> Blob:
    with target.open("xb") as writer:
        blob = _hashed(source, on_bytes, writer)
        writer.flush()
        os.fsync(writer.fileno())
    _protect(target)
    return blob


def _protect(path: Path) -> None:
    """Make a file that only the store owns read-only, except on Windows, which could then not
    replace it."""
    if sys.platform != "win32":
        path.chmod(0o444)
