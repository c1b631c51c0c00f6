"""Read entries of untrusted ZIP archives as written by torch and numpy."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.adapters.foreign.formats.untrusted_file import (
    damaged,
    open_file,
    read_exactly,
    read_span,
)
from engine.disk.regular_file import FileStamp
from engine.errors import AdapterError
from modelfiles.wording import shown

MAX_ENTRIES: Final = 262_144
MAX_INFLATED_BYTES: Final = 1 << 30
"""Total size of all compressed entries; torch and numpy do not compress by default."""
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_FAULTS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,  # an unknown compression method
    RuntimeError,  # an encrypted entry
    ValueError,
    OverflowError,
    EOFError,
    KeyError,
    IndexError,
)
"""Exceptions that `zipfile` raises for truncated or inconsistent archives."""


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file in an archive."""

    archive: Path
    stamp: FileStamp
    name: str
    size_bytes: int
    """Uncompressed size."""
    data_offset: int | None
    """Position of its bytes in the archive if they are stored uncompressed, else None."""

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return part of the entry; raise `AdapterError` if the archive is damaged or changed."""
        if offset + n_bytes > self.size_bytes:
            raise damaged(self.archive, f"{shown(self.name)} is shorter than what lies in it")
        if self.data_offset is not None:
            return read_span(self.archive, self.stamp, self.data_offset + offset, n_bytes)
        read_span(self.archive, self.stamp, 0, 0)  # only to check the stamp
        try:
            with zipfile.ZipFile(self.archive) as archive, archive.open(self.name) as entry:
                entry.seek(offset)
                content = entry.read(n_bytes)
        except (*_FAULTS, OSError) as error:
            raise damaged(self.archive, f"{shown(self.name)} cannot be inflated") from error
        if len(content) < n_bytes:
            raise damaged(self.archive, f"{shown(self.name)} is shorter than what lies in it")
        return content


def read_zip(path: Path) -> dict[str, ZipEntry]:
    """Return the entries of an archive by name; raise `AdapterError` if it is damaged."""
    file, stamp = open_file(path)
    with file:
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (*_FAULTS, OSError):
            raise damaged(path, "it is not a sound ZIP archive") from None
        if len(infos) > MAX_ENTRIES:
            raise damaged(path, f"it has {len(infos)} entries, at most {MAX_ENTRIES} make sense")
        entries: dict[str, ZipEntry] = {}
        n_inflated = 0
        for info in infos:
            if info.filename in entries:
                raise damaged(path, f"it has the entry {shown(info.filename)} twice")
            offset = None
            if info.compress_type == zipfile.ZIP_STORED:
                header = read_exactly(path, file, info.header_offset, _LOCAL_HEADER.size)
                magic, n_name, n_extra = _LOCAL_HEADER.unpack(header)
                offset = info.header_offset + _LOCAL_HEADER.size + n_name + n_extra
                if magic != b"PK\x03\x04" or offset + info.file_size > stamp.size_bytes:
                    raise damaged(path, f"{shown(info.filename)} is not where it should be")
            else:
                n_inflated += info.file_size
            if info.flag_bits & 1:
                raise AdapterError("is encrypted: decrypt it first.", path)
            entries[info.filename] = ZipEntry(path, stamp, info.filename, info.file_size, offset)
    if n_inflated > MAX_INFLATED_BYTES:
        raise damaged(path, f"its entries would inflate to {n_inflated} bytes")
    return entries
