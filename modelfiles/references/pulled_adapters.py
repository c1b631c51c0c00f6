"""The adapters that were pulled: a record of each, under a short name, beside the models.

The files themselves stay in the cache of the Hugging Face Hub, so that no disk holds them twice;
what stands here is where they lie, and from which revision they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from uuid import uuid4

import msgspec

from modelfiles.errors import ReferenceNotFoundError, StoreError
from modelfiles.references.model_name import free_name
from modelfiles.state.home import make_private
from modelfiles.state.locks import FileLock
from modelfiles.wording import hint, quoted

VERSION = 1
_SUFFIX = ".json"
_CONFIG = "adapter_config.json"


class PulledAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter of the Hub that lies on this machine."""

    version: int = VERSION
    name: str
    """What `ADAPTER` and `--lora` call it."""
    repo: str
    """`user/repo`."""
    revision: str
    """The commit that was pulled, 40 hex digits."""
    file: str
    """The path within the repository: a GGUF file, or of a folder its weights."""
    kind: Literal["gguf", "peft", "mlx"]
    path: str
    """Absolute path of the GGUF file, or of the folder, in the Hub's cache."""
    size_bytes: int
    pulled: datetime
    base_models: tuple[str, ...] = ()
    """What its card says that it was trained on."""

    @property
    def reference(self) -> str:
        """The reference that pulls it again: `hf.co/user/repo:file`."""
        return f"hf.co/{self.repo}:{self.file}"

    @property
    def is_there(self) -> bool:
        """Whether the file, or the weights and the configuration, still lie in the cache."""
        path = Path(self.path)
        if self.kind == "gguf":
            return path.is_file()
        return (path / PurePosixPath(self.file).name).is_file() and (path / _CONFIG).is_file()


class PulledAdapters:
    """The records below a home folder, one small file each."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "adapters"

    def list(self) -> Sequence[PulledAdapter]:
        """Return all, the newest first; what cannot be read as a record is left out.

        Raises `StoreError` where the folder cannot be read.
        """
        records = [record for path in self._files() if (record := _read(path)) is not None]
        return sorted(records, key=lambda record: record.pulled, reverse=True)

    def get(self, name: str) -> PulledAdapter:
        """Return the adapter called `name`, whatever its case.

        Raises `ReferenceNotFoundError`, which names the nearest.
        """
        records = self.list()
        for record in records:
            if record.name.casefold() == name.casefold():
                return record
        close = hint(name, [record.name for record in records])
        raise ReferenceNotFoundError(f"there is no pulled adapter {quoted(name)}{close}")

    def find(self, repo: str, file: str) -> PulledAdapter | None:
        """Return the record of a file of the Hub, None where it was never pulled."""
        return next((r for r in self.list() if (r.repo, r.file) == (repo, file)), None)

    def put(self, record: PulledAdapter) -> PulledAdapter:
        """Keep a record and return it, under a name of its own.

        The same file of the same repository keeps the name it has; another one that would be
        called like it gets a number. Raises `StoreError` where it cannot be written.
        """
        try:
            make_private(self._folder)
            with FileLock(self._folder / "lock"):
                known = self.find(record.repo, record.file)
                taken = {other.name.casefold() for other in self.list()}
                name = known.name if known else free_name(record.name.casefold(), taken)
                record = msgspec.structs.replace(record, name=name)
                self._write(record)
        except OSError as error:
            raise StoreError(f"cannot write to {self._folder}: {error.strerror}") from None
        return record

    def remove(self, name: str) -> PulledAdapter:
        """Forget an adapter and return its record; its file stays in the Hub's cache.

        Raises `ReferenceNotFoundError` where there is none of that name.
        """
        record = self.get(name)
        try:
            with FileLock(self._folder / "lock"):
                self._path_of(record.name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {record.name}: {error.strerror}") from None
        return record

    def _files(self) -> Sequence[Path]:
        try:
            return sorted(p for p in self._folder.iterdir() if p.suffix == _SUFFIX)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StoreError(f"cannot read {self._folder}: {error.strerror}") from None

    def _path_of(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"

    def _write(self, record: PulledAdapter) -> None:
        beside = self._folder / f".{uuid4().hex}.part"
        try:
            with beside.open("xb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path_of(record.name))
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _read(path: Path) -> PulledAdapter | None:
    """Return the record in a file; one that cannot be read was written by no version known here."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=PulledAdapter)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    is_known = record.version == VERSION and record.name == path.stem
    return record if is_known and record.pulled.tzinfo is not None else None
