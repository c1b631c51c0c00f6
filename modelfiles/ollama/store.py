"""List and look up the models of Ollama's store; files are only read, never locked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelfiles.errors import ModelNameError, OllamaError
from modelfiles.model import ListedModel, Model
from modelfiles.ollama.layers import LayerReader
from modelfiles.ollama.records import OllamaManifest, decode
from modelfiles.references.model_name import ModelName
from modelfiles.wording import printable

_MAX_MANIFEST_BYTES = 4 * 2**20
_FILES = ("model", "adapter", "draft")
_BLOB_NAME = re.compile(r"sha256-[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class _Found:
    """The manifests found by name, and a sentence for each folder that cannot be read."""

    paths: dict[ModelName, Path]
    problems: list[str]


class OllamaStore:
    """The read side of Ollama's store at `root`, which need not exist."""

    def __init__(self, root: Path) -> None:
        self._manifests = root / "manifests"
        self._blobs = root / "blobs"

    def names(self) -> list[ModelName]:
        """Return the names of all manifests in readable folders, in path order."""
        return list(self._scan().paths)

    def problems(self) -> list[str]:
        """Return a sentence for each folder that cannot be read."""
        return self._scan().problems

    def get(self, name: ModelName) -> Model | None:
        """Return the model of that name, ignoring case; None if there is none.

        Raises `OllamaError` if the model cannot be run here or one of its files cannot be read.
        """
        paths = self._scan().paths
        known = name if name in paths else None
        known = known or next((n for n in paths if n.folded == name.folded), None)
        if known is None:
            return None
        manifest = self._manifest(known, paths[known])[0]
        return LayerReader(self._blobs, known).model(manifest, known.display)

    def list(self) -> list[ListedModel]:
        """Describe every model, newest first; `problem` says why one cannot be run here."""
        listed = [self._describe(name, path) for name, path in self._scan().paths.items()]
        return sorted(listed, key=lambda model: model.modified, reverse=True)

    def has_blob(self, file: Path) -> bool:
        """Return whether this store has a blob with the name of `file`, wherever `file` is."""
        return bool(_BLOB_NAME.match(file.name)) and (self._blobs / file.name).exists()

    def _describe(self, name: ModelName, path: Path) -> ListedModel:
        digest, size_bytes, n_adapters, problem = "", 0, 0, None
        try:
            manifest, digest = self._manifest(name, path)
            sizes = {layer.digest: layer.size for layer in manifest.of_kind(*_FILES)}
            size_bytes = sum(sizes.values())
            n_adapters = len(manifest.of_kind("adapter"))
            LayerReader(self._blobs, name).model(manifest, name.display)
        except OllamaError as error:
            problem = str(error)
        return ListedModel(
            name.display, digest, size_bytes, _modified(path), "ollama", n_adapters, problem
        )

    def _manifest(self, name: ModelName, path: Path) -> tuple[OllamaManifest, str]:
        """Return a manifest and its id, the first 12 hex digits of its SHA-256."""
        what = f"model {name.display} of Ollama"
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_MANIFEST_BYTES + 1)
        except OSError as error:
            raise OllamaError(
                f"{what}: cannot read {printable(path)}: {error.strerror or error}"
            ) from None
        if len(data) > _MAX_MANIFEST_BYTES:
            raise OllamaError(f"{what}: {printable(path)} is too large to be a manifest")
        manifest = decode(data, OllamaManifest, f"{what}: its manifest {printable(path)}")
        return manifest, hashlib.sha256(data).hexdigest()[:12]

    def _scan(self) -> _Found:
        found = _Found({}, [])
        self._scan_folder(self._manifests, (), found)
        return found

    def _scan_folder(self, folder: Path, parts: tuple[str, ...], found: _Found) -> None:
        try:
            with os.scandir(folder) as entries:
                inner = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            found.problems.append(
                f"Ollama's folder {printable(folder)} cannot be read:"
                f" {error.strerror or error}; models in it are left out"
            )
            return
        for entry in inner:
            if len(parts) < 3:
                if _is(entry, os.DirEntry.is_dir):
                    self._scan_folder(folder / entry.name, (*parts, entry.name), found)
            elif _is(entry, os.DirEntry.is_file):
                name = ModelName(parts[0], parts[1], parts[2], entry.name)
                if _is_name(name):
                    found.paths[name] = folder / entry.name


def _is(entry: os.DirEntry[str], kind: Callable[[os.DirEntry[str]], bool]) -> bool:
    try:
        return kind(entry)
    except OSError:
        # A link to a place without read permission.
        return False


def _is_name(name: ModelName) -> bool:
    host, namespace, model, tag = name.path_parts
    try:
        return ModelName.parse(f"{host}/{namespace}/{model}:{tag}") == name
    except ModelNameError:
        return False


def _modified(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        # Deleted after the folder was read.
        return datetime.fromtimestamp(0, UTC)
