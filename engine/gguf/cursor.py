"""Read binary file headers in chunks, guarding against truncated, hostile or changing files.

Uses ordinary reads. A memory map would be as fast, but touching a page beyond the end of a file
that was truncated after mapping kills the process with SIGBUS.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from engine.disk.handle import Handle
from engine.disk.regular_file import open_regular
from engine.errors import GgufError
from modelfiles.wording import shown

_CHUNK_BYTES: Final = 256 * 1024
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class FileCursor(Handle):
    """Reads numbers and strings from a file front to back; every failure is a `GgufError`.

    Holds at most one chunk of 256 KiB in memory, or the requested value if that is longer.
    """

    __slots__ = ("_at", "_buffer", "_file", "_start", "path", "stamp")

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        self._file, self.stamp = open_regular(path)
        self._buffer = b""
        self._start = position
        """File position of the buffer's first byte."""
        self._at = 0

    def _free(self) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """File position of the next byte."""
        return self._start + self._at

    @property
    def remaining(self) -> int:
        """Bytes from here to the end of the file."""
        return self.stamp.size_bytes - self.position

    def damaged(self, fault: str) -> GgufError:
        """Return the error for a header that contradicts itself."""
        return GgufError(f"is damaged: {fault}; download or copy it again.", self.path)

    def need(self, n_bytes: int, what: str) -> None:
        """Buffer the next `n_bytes`; raise `GgufError` if the file ends before."""
        if self._at + n_bytes <= len(self._buffer):
            return
        if n_bytes > self.remaining:
            raise self._too_short(what, self.position + n_bytes)
        self._start, self._at = self.position, 0
        wanted = min(max(n_bytes, _CHUNK_BYTES), self.stamp.size_bytes - self._start)
        try:
            self._file.seek(self._start)
            parts: list[bytes] = []
            while wanted > 0 and (part := self._file.read(wanted)):
                parts.append(part)
                wanted -= len(part)
        except OSError as error:
            raise GgufError(f"cannot be read: {error.strerror}.", self.path) from None
        self._buffer = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(self._buffer) < n_bytes:  # shorter than it was when it was opened
            raise self._too_short(what, self._start + n_bytes)

    def take(self, n_bytes: int, what: str) -> bytes:
        """Read the next `n_bytes`."""
        self.need(n_bytes, what)
        start, self._at = self._at, self._at + n_bytes
        return self._buffer[start : self._at]

    def u32(self, what: str) -> int:
        """Read an unsigned 32-bit integer."""
        self.need(4, what)
        self._at += 4
        return int(_U32.unpack_from(self._buffer, self._at - 4)[0])

    def u64(self, what: str) -> int:
        """Read an unsigned 64-bit integer."""
        self.need(8, what)
        self._at += 8
        return int(_U64.unpack_from(self._buffer, self._at - 8)[0])

    def string(self, max_bytes: int, what: str) -> bytes:
        """Read a length and that many bytes; raise `GgufError` for a length over `max_bytes`."""
        length = self.u64(what)
        if length > self.remaining:
            raise self._too_short(what, self.position + length)
        if length > max_bytes:
            raise self.damaged(f"{what} is {length} bytes long, at most {max_bytes} make sense")
        return self.take(length, what)

    def name(self, max_bytes: int, what: str) -> str:
        """Read a key or a tensor name: UTF-8, not empty, without control characters."""
        raw = self.string(max_bytes, what)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged(f"{what} is not valid UTF-8") from None
        if not name or not name.isprintable():  # llama.cpp would cut a name at a zero byte
            raise self.damaged(f"{what} is {shown(name)}")
        return name

    def skip(self, n_bytes: int, what: str) -> None:
        """Skip bytes without reading them; raise `GgufError` if the file ends before."""
        if n_bytes > self.remaining:
            raise self._too_short(what, self.position + n_bytes)
        self._at += n_bytes
        if self._at > len(self._buffer):
            self._start, self._at, self._buffer = self.position, 0, b""

    def skip_strings(self, count: int, what: str) -> None:
        """Skip `count` strings, reading only their lengths.

        The inner loop has no checks: 408,000 strings of a large vocabulary take 0.02 s. A false
        length leads out of the buffer, where unpacking fails and `skip` checks the position.
        """
        if count * _U64.size > self.remaining:
            raise self._too_short(what, self.position + count * _U64.size)
        unpack_length = _U64.unpack_from
        while count:
            self.need(_U64.size, what)
            buffer, at, n_done = self._buffer, self._at, 0
            try:
                for n_done in range(count):  # noqa: B007  # read after the loop breaks off
                    at += 8 + unpack_length(buffer, at)[0]
                n_done = count
            except (struct.error, OverflowError, IndexError):
                pass
            count -= n_done
            self.skip(at - self._at, what)

    def _too_short(self, what: str, end: int) -> GgufError:
        return GgufError(
            f"is cut short or damaged: {what} would end at byte {end} of "
            f"{self.stamp.size_bytes}; download or copy it again.",
            self.path,
        )
