"""Keep KV cache snapshots on disk, so that a chat of an earlier process resumes without prefill.

A file holds the header below, the cells (int64, two rows) and llama.cpp's bytes. Since it holds a
conversation, only its owner can read it. A damaged, truncated or foreign file is removed and never
reaches llama.cpp, which can crash on an invalid state.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from engine.gguf.header import GgufHeader
from engine.runtime.kv.cells import Cells
from modelfiles.state.home import make_private

log = logging.getLogger("engine.runtime.kv.snapshots")

# magic, fingerprint of the base, number of cells, bytes of data, SHA-256 of the cells, SHA-256 of
# cells and data.
_HEADER: Final = struct.Struct("<8s32sQQ32s32s")
_MAGIC: Final = b"LTKVS\x00\x00\x01"
_SUFFIX: Final = ".kv"
_PART_SUFFIX: Final = ".kv-part"
_ABANDONED_AFTER_S: Final = 3600.0
_SLICE_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class _Entry:
    cells: Cells
    path: Path


class SnapshotFolder:
    """The snapshots of one base in a folder that all bases share.

    Args:
        folder: Created, readable by its owner only, when the first snapshot is written.
        budget_bytes: Most disk space for the snapshots of all bases together; the least recently
            used is removed first.
        fingerprint: Result of `base_fingerprint`; snapshots with another one are not read.
    """

    def __init__(self, folder: Path, budget_bytes: int, fingerprint: bytes) -> None:
        self._folder = folder
        self._budget_bytes = budget_bytes
        self._fingerprint = fingerprint
        self._prefix = fingerprint.hex()[:16]
        self._entries: dict[str, _Entry] = {}
        self._remove_abandoned()
        for path in sorted(folder.glob(f"{self._prefix}-*{_SUFFIX}")):
            cells = self._read_cells(path)
            if cells is None:
                _unlink(path)
            else:
                self._entries[path.name] = _Entry(cells, path)
        self._shrink(0)

    def index(self) -> list[Cells]:
        """Return the cells of every snapshot of this base."""
        return [entry.cells for entry in self._entries.values()]

    def read(self, cells: Cells) -> npt.NDArray[np.uint8] | None:
        """Return the bytes of the snapshot of these cells; None if there is none.

        A damaged or unreadable file is removed, and None returned.
        """
        entry = self._entries.get(self._name(cells))
        if entry is None:
            return None
        try:
            data = self._read_data(entry)
            if data is not None:
                os.utime(entry.path)
        except OSError as error:
            log.warning("%s cannot be read: %s", entry.path, error)
            data = None
        if data is None:
            self.remove(cells)
        return data

    def write(self, cells: Cells, data: npt.NDArray[np.uint8]) -> bool:
        """Write a snapshot atomically; return False if it does not fit or cannot be written."""
        raw = np.ascontiguousarray(cells).tobytes()
        size_bytes = _HEADER.size + len(raw) + data.nbytes
        if size_bytes > self._budget_bytes:
            return False
        whole = hashlib.sha256(raw)
        whole.update(data.data)
        header = _HEADER.pack(
            _MAGIC,
            self._fingerprint,
            cells.shape[1],
            data.nbytes,
            hashlib.sha256(raw).digest(),
            whole.digest(),
        )
        name = self._name(cells)
        path = self._folder / name
        part = self._folder / f"{name}.{os.getpid()}{_PART_SUFFIX}"
        try:
            make_private(self._folder)
            self._shrink(size_bytes)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(header)
                file.write(raw)
                file.write(data.data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)
            _unlink(part)
            return False
        self._entries[name] = _Entry(cells, path)
        return True

    def remove(self, cells: Cells) -> None:
        """Remove the snapshot of these cells, if any."""
        entry = self._entries.pop(self._name(cells), None)
        if entry is not None:
            _unlink(entry.path)

    def _name(self, cells: Cells) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(cells).tobytes()).hexdigest()
        return f"{self._prefix}-{digest[:32]}{_SUFFIX}"

    def _read_cells(self, path: Path) -> Cells | None:
        try:
            with path.open("rb") as file:
                header = self._read_header(file)
                if header is None:
                    return None
                n_cells, _n_data, cells_digest, _digest = header
                raw = file.read(16 * n_cells)
        except OSError:
            return None
        if hashlib.sha256(raw).digest() != cells_digest:
            return None
        return np.frombuffer(raw, dtype=np.int64).reshape(2, n_cells)

    def _read_header(self, file: BinaryIO) -> tuple[int, int, bytes, bytes] | None:
        raw = file.read(_HEADER.size)
        if len(raw) != _HEADER.size:
            return None
        magic, fingerprint, n_cells, n_data, cells_digest, digest = _HEADER.unpack(raw)
        size_bytes = os.fstat(file.fileno()).st_size
        is_ours = magic == _MAGIC and fingerprint == self._fingerprint
        if not is_ours or size_bytes != _HEADER.size + 16 * n_cells + n_data or n_cells == 0:
            return None
        return n_cells, n_data, cells_digest, digest

    def _read_data(self, entry: _Entry) -> npt.NDArray[np.uint8] | None:
        with entry.path.open("rb") as file:
            header = self._read_header(file)
            if header is None or header[0] != entry.cells.shape[1]:
                return None
            n_cells, n_data, _cells_digest, digest = header
            whole = hashlib.sha256(file.read(16 * n_cells))
            data = np.empty(n_data, dtype=np.uint8)
            n_read = file.readinto(data.data)
        whole.update(data.data)
        return data if n_read == n_data and whole.digest() == digest else None

    def _shrink(self, n_new_bytes: int) -> None:
        """Remove the oldest files until there is room for `n_new_bytes` more."""
        files: list[tuple[int, int, Path]] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except OSError:
                continue  # another process removed it
            files.append((status.st_mtime_ns, status.st_size, path))
        n_bytes = n_new_bytes + sum(size for _time, size, _path in files)
        for _time, size, path in sorted(files):
            if n_bytes <= self._budget_bytes:
                break
            _unlink(path)
            self._entries.pop(path.name, None)
            n_bytes -= size

    def _remove_abandoned(self) -> None:
        """Remove partial files over an hour old, left by killed processes."""
        for path in self._folder.glob(f"*{_PART_SUFFIX}"):
            try:
                is_abandoned = path.stat().st_mtime < time.time() - _ABANDONED_AFTER_S
            except OSError:
                continue  # the other process finished it
            if is_abandoned:
                _unlink(path)


def base_fingerprint(header: GgufHeader, facts: Iterable[object] = ()) -> bytes:
    """Return 32 bytes that differ between bases whose KV caches are not interchangeable.

    They cover the version of llama-cpp-python and every part of the base: its size, the bytes
    before its weights and two slices of each tensor. That takes a few milliseconds; hashing the
    file would take seconds.

    Args:
        header: The base's header, with the tensors of all parts.
        facts: What else the bytes depend on: dtypes of the cache, context length, …
    """
    sha = hashlib.sha256()
    sha.update(repr((version("llama-cpp-python"), *facts)).encode())
    paths = {tensor.path: None for tensor in header.tensors.values()}
    for path in paths:
        tensors = [tensor for tensor in header.tensors.values() if tensor.path == path]
        with path.open("rb") as file:
            sha.update(struct.pack("<Q", os.fstat(file.fileno()).st_size))
            sha.update(file.read(min(tensor.offset for tensor in tensors)))
            for tensor in tensors:
                for place in (tensor.size_bytes // 2, tensor.size_bytes - _SLICE_BYTES):
                    file.seek(tensor.offset + max(0, place))
                    sha.update(file.read(min(_SLICE_BYTES, tensor.size_bytes)))
    return sha.digest()


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be removed: %s", path, error)
