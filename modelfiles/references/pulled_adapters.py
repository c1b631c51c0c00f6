"""Records of adapters pulled from the Hugging Face Hub, each under a short name.

The adapter files stay in the Hub's cache, so they are not stored twice; a record holds their path
and revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from uuid import uuid4

import msgspec

from modelfiles.errors import ReferenceNotFoundError, StoreError
from modelfiles.references.model_name import free_name
from modelfiles.state.home import make_private
from modelfiles.state.locks import FileLock
from modelfiles.state.staging import write_file
from modelfiles.wording import hint, quoted

VERSION = 1
_SUFFIX = ".json"
_CONFIGS = ("adapter_config.json", "params.json")


class PulledAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter of the Hub that was downloaded to this machine."""

    version: int = VERSION
    name: str
    """The name that `ADAPTER` and `--lora` accept."""
    repo: str
    """`user/repo`."""
    revision: str
    """The commit that was pulled, 40 hex digits."""
    file: str
    """Path within the repository: the GGUF file, or the weights file of an adapter folder."""
    kind: Literal["gguf", "peft", "mlx"]
    path: str
    """Absolute path of the GGUF file or adapter folder in the Hub's cache."""
    size_bytes: int
    pulled: datetime
    base_models: tuple[str, ...] = ()
    """The base models that its model card names."""
    notice: str = ""
    """One sentence if it was chosen among the checkpoints of one training, or ''."""

    @property
    def reference(self) -> str:
        """The reference that pulls this adapter again: `hf.co/user/repo:file`."""
        return f"hf.co/{self.repo}:{self.file}"

    @property
    def is_there(self) -> bool:
        """Whether the GGUF file, or the weights and configuration, are still in the cache."""
        path = Path(self.path)
        if self.kind == "gguf":
            return path.is_file()
        has_config = any((path / name).is_file() for name in _CONFIGS)
        return has_config and (path / PurePosixPath(self.file).name).is_file()


class PulledAdapters:
    """The records below a home folder, one JSON file each."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "adapters"

    def list(self) -> Sequence[PulledAdapter]:
        """Return all records, newest first, skipping files that are not valid records.

        Raises `StoreError` if the folder cannot be read.
        """
        records = [record for path in self._files() if (record := _read(path)) is not None]
        return sorted(records, key=lambda record: record.pulled, reverse=True)

    def get(self, name: str) -> PulledAdapter:
        """Return the adapter called `name`, ignoring case.

        Raises `ReferenceNotFoundError`, which suggests the nearest name.
        """
        records = self.list()
        for record in records:
            if record.name.casefold() == name.casefold():
                return record
        close = hint(name, [record.name for record in records])
        raise ReferenceNotFoundError(f"there is no pulled adapter {quoted(name)}{close}")

    def find(self, repo: str, file: str) -> PulledAdapter | None:
        """Return the record of a file of the Hub, or None if there is none."""
        return next((r for r in self.list() if (r.repo, r.file) == (repo, file)), None)

    def put(self, record: PulledAdapter) -> PulledAdapter:
        """Store a record under a unique name and return it with that name.

        A file that already has a record keeps its name; a different file whose name is taken
        gets a number. Raises `StoreError` if the record cannot be written.
        """
        try:
            make_private(self._folder)
            with FileLock(self._folder / "lock"):
                known = self.find(record.repo, record.file)
                taken = {other.name.casefold() for other in self.list()}
                name = known.name if known else free_name(record.name.casefold(), taken)
                record = msgspec.structs.replace(record, name=name)
                content = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
                beside = self._folder / f".{uuid4().hex}.part"
                write_file(self._path_of(record.name), content, beside=beside)
        except OSError as error:
            raise StoreError(f"cannot write to {self._folder}: {error.strerror}") from None
        return record

    def remove(self, name: str) -> PulledAdapter:
        """Delete an adapter's record and return it; the adapter file stays in the Hub's cache.

        Raises `ReferenceNotFoundError` if no adapter has that name, and `StoreError` if the
        record cannot be deleted.
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


def _read(path: Path) -> PulledAdapter | None:
    """Return the record in a file, or None if it is unreadable or has an unknown version."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=PulledAdapter)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    is_known = record.version == VERSION and record.name == path.stem
    return record if is_known and record.pulled.tzinfo is not None else None
