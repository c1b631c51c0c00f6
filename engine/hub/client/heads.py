"""Fetch the beginnings of files on the Hub, to judge them by their headers without the weights.

A Range request fetches the first bytes of a file. They are written to a sparse file of the full
size, so that every header reader works on it as on the file itself.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.errors import GgufError, HubError
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.metadata import ValueType
from engine.hub.client.errors import explained
from engine.hub.client.http import get
from modelfiles.wording import shown

FIRST_BYTES: Final = 64 * 1024
"""Size of the first request: the header of an adapter of 448 tensors takes about 40 KB."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Most bytes fetched: enough for the header of a model with a vocabulary of 256,000 tokens."""
_MAGIC: Final = b"GGUF"
# The key with its length before it, the type number of strings, and the value's length.
_TYPE: Final = re.compile(
    re.escape(struct.pack("<Q", 12) + b"general.type" + struct.pack("<I", ValueType.STRING))
    + b"(.{8})",
    re.DOTALL,
)
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@contextmanager
def heads_folder() -> Iterator[Path]:
    """Yield a temporary folder for the beginnings of files; turns `OSError` into `HubError`."""
    try:
        with tempfile.TemporaryDirectory(prefix="lora-tui-") as folder:
            yield Path(folder)
    except OSError as error:
        raise HubError(
            f"The header of a file cannot be kept in {tempfile.gettempdir()}: "
            f"{error.strerror or error}; free some space, or set TMPDIR."
        ) from error


class RemoteHead:
    """The beginning of one file of a repository, fetched on demand.

    Args:
        repo: `user/repo`.
        file: Path within the repository.
        revision: Commit, branch or tag.
        out: Path of the sparse file; its folder must exist.

    The constructor and `need` raise `HubError`, and `OSError` (for `heads_folder`) if the sparse
    file cannot be written.
    """

    def __init__(self, repo: str, file: str, revision: str, out: Path) -> None:
        self.path = out
        self.size_bytes = 0
        self.n_fetched = 0
        self._repo = f"hf.co/{repo}"
        self._file = shown(file)
        self._address = address_of(repo, file, revision)
        self.need(FIRST_BYTES)

    def need(self, n_bytes: int) -> None:
        """Fetch at least the first `n_bytes`, or all of a shorter file."""
        wanted = min(n_bytes, self.size_bytes) if self.size_bytes else n_bytes
        if wanted <= self.n_fetched:
            return
        if n_bytes > MAX_BYTES:
            raise HubError(f"{self._repo} has a header of over {MAX_BYTES} bytes: it is damaged.")
        with explained(self._repo):
            data, total = self._fetch(self.n_fetched, wanted - 1)
        with self.path.open("r+b" if self.n_fetched else "wb") as file:
            file.seek(self.n_fetched)
            file.write(data)
            file.truncate(total)
        self.size_bytes = total
        self.n_fetched += len(data)

    def _fetch(self, first: int, last: int) -> tuple[bytes, int]:
        from huggingface_hub import errors

        try:
            answer = get(
                self._address,
                headers={"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"},
                max_bytes=last + 1,
                is_cut=True,
            )
        except errors.HfHubHTTPError as error:
            if first == 0 and error.response is not None and error.response.status_code == 416:
                # An empty file has no first byte.
                raise HubError(f"{self._file} of {self._repo} is empty.") from None
            raise
        data = answer.content
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status == 206 and found is not None and int(found[1]) == first:
            data, total = data[: last + 1 - first], int(found[3])
        else:
            # A server without range support sends the whole file; only the part needed is read.
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() and length.isascii() else len(data)
            data = data[first:]
        if first + len(data) > total or len(data) < min(last + 1, total) - first:
            raise ValueError("a part of a file came with another length than was asked for")
        return data, total


def remote_gguf_header(head: RemoteHead) -> GgufHeader:
    """Return the header of a GGUF file on the Hub, fetching as much as it needs.

    Raises `GgufError` if the file is not GGUF.
    """
    n_bytes = FIRST_BYTES
    while True:
        head.need(n_bytes)
        try:
            header = read_header(head.path)
            if header.data_offset <= head.n_fetched:
                return header
        except GgufError:
            # The part not fetched yet reads as zeros.
            if head.n_fetched >= min(head.size_bytes, MAX_BYTES):
                raise
        n_bytes = min(head.n_fetched * 4, MAX_BYTES)


def early_type(head: RemoteHead) -> str | None:
    """Return `general.type` of a GGUF file if it lies in the bytes already fetched, else None.

    Converters write it among the first keys, which saves fetching the 6 to 12 MB that a model's
    header takes with its vocabulary. If it is None, read the whole header.
    """
    with head.path.open("rb") as file:
        start = file.read(min(head.n_fetched, FIRST_BYTES))
    if not start.startswith(_MAGIC):
        return None
    found = _TYPE.search(start)
    if found is None:
        return None
    (n_bytes,) = struct.unpack("<Q", found[1])
    text = start[found.end() : found.end() + n_bytes]
    return text.decode("utf-8", "replace") if 0 < len(text) == n_bytes else None


def need_safetensors_header(head: RemoteHead) -> None:
    """Fetch all of a safetensors header; raises `HubError` if it is longer than `MAX_BYTES`."""
    with head.path.open("rb") as file:
        start = file.read(8)
    if len(start) == 8:
        head.need(8 + struct.unpack("<Q", start)[0])


def address_of(repo: str, file: str, revision: str) -> str:
    """Return the download URL of a file of a repository."""
    from huggingface_hub import hf_hub_url

    return str(hf_hub_url(repo, file, revision=revision))
