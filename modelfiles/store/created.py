"""Store created models, with all their files, below `<home>/models`.

```
models/manifests/<host>/<namespace>/<model>/<tag>    a manifest (JSON, format version 1)
models/blobs/sha256-<hex>                             a base, an adapter or a draft model
models/splits/<hex>/                                  links with shard names, for split bases
models/staging/<random>/                              files of a create that is under way
models/lock                                           held during the short changes below
```
A create links or copies its files into its staging folder without the lock, then takes the lock,
renames them into place, writes the manifest and removes unreferenced blobs. A process that is
killed before the last rename creates nothing, and the next change removes its leftovers.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from modelfiles.errors import (
    ModelNameError,
    ModelNotFoundError,
    PackagedModelError,
    StoreError,
)
from modelfiles.model import ListedModel, Model
from modelfiles.references.model_name import DEFAULT_TAG, ModelName
from modelfiles.references.split_files import shards_of
from modelfiles.state.home import make_private
from modelfiles.state.locks import FileLock
from modelfiles.state.staging import staging_folder, sync_folder, write_file
from modelfiles.store import manifest as manifests
from modelfiles.store.blobs import LINK_FROM_BYTES, Blob, BlobFolder, CopyProgress, StagedBlob
from modelfiles.store.manifest import Manifest
from modelfiles.store.packaged import PackagedModels, packaged_models
from modelfiles.wording import hint, printable

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

OnProgress = Callable[[CopyProgress], None]


class ModelStore:
    """The created models of one home folder.

    A created model hides a packaged model of the same name; removing it makes the packaged one
    visible again. Names that differ only in case are equal.
    """

    def __init__(
        self,
        home: Path,
        package: PackagedModels | None = None,
        link_from_bytes: int = LINK_FROM_BYTES,
    ) -> None:
        self._home = home
        self._package = packaged_models() if package is None else package
        self._manifests = home / "models" / "manifests"
        self._staging = home / "models" / "staging"
        self._lock_path = home / "models" / "lock"
        self._blobs = BlobFolder(home / "models" / "blobs", link_from_bytes)

    def create(self, name: str, model: Model, on_progress: OnProgress | None = None) -> ListedModel:
        """Store `model` under `name`, replacing any model of that name.

        Brings every file into the store, so that the model no longer depends on the original
        paths. Calls `on_progress` for every chunk of up to 1 MiB that is read or copied. Raises
        `ModelNameError`, and `StoreError`, with nothing created, if a file cannot be read or the
        store cannot be written.
        """
        model_name = ModelName.parse(name)
        with self._explained(f"create {model_name.display}"):
            self._make_folders()
            with staging_folder(self._staging, self._lock()) as staging:
                staged = self._stage(model, staging, on_progress)
                manifest = Manifest.of(model, {path: s.blob for path, s in staged.items()})
                with self._lock():
                    for staged_blob in {s.path: s for s in staged.values()}.values():
                        self._blobs.adopt(staged_blob)
                    sync_folder(self._blobs.folder)
                    self._blobs.link_split(manifest.base_blobs)
                    target = self._existing(model_name) or model_name
                    self._write(target, manifest.encode(), staging)
                    self._collect()
                    return self._describe(target, manifest)

    def copy(self, source: str, target: str) -> None:
        """Give the model `source`, created or packaged, the additional name `target`.

        Stores no file twice. Raises `ModelNotFoundError`, `ModelNameError`, and `StoreError` if
        the names are equal, `source` is damaged or the store cannot be written.
        """
        from_name, to_name = ModelName.parse(source), ModelName.parse(target)
        if from_name.folded == to_name.folded:
            raise StoreError(f"cannot copy {from_name.display} to itself; give another name")
        if self._existing(from_name) is None:
            packaged = self._package.get(from_name)
            if packaged is None:
                raise self.not_found(from_name)
            self.create(target, packaged)
            return
        with self._explained(f"copy {from_name.display}"):
            self._make_folders()
            with staging_folder(self._staging, self._lock()) as staging, self._lock():
                manifest = self._checked_manifest(from_name)
                self._write(self._existing(to_name) or to_name, manifest.encode(), staging)
                self._collect()

    def remove(self, name: str) -> None:
        """Remove a created model and the blobs that no other model uses.

        Raises `ModelNotFoundError`, and `PackagedModelError` for a packaged model.
        """
        model_name = ModelName.parse(name)
        with self._explained(f"remove {model_name.display}"):
            if self._existing(model_name) is None:
                raise self._not_removable(model_name)
            with self._lock():
                existing = self._existing(model_name)
                if existing is None:
                    raise self._not_removable(model_name)
                path = self._path_of(existing)
                path.unlink()
                for folder in list(path.parents)[:3]:
                    if any(folder.iterdir()):
                        break
                    folder.rmdir()
                self._collect()

    def get(self, name: str) -> Model:
        """Return the created model of that name, with the paths of its blobs.

        Raises `ModelNotFoundError`, and `StoreError` if one of its files is missing or changed.
        """
        model_name = ModelName.parse(name)
        existing = self._existing(model_name)
        if existing is None:
            raise self.not_found(model_name)
        with self._explained(f"read {existing.display}"):
            manifest = self._checked_manifest(existing)
        return manifest.to_model(existing.display, self._blobs)

    def has(self, name: str) -> bool:
        """Return whether a created model has that name, ignoring case."""
        return self._existing(ModelName.parse(name)) is not None

    def list(self) -> list[ListedModel]:
        """Describe every created model, newest first; `problem` says why one cannot be read."""
        listed = []
        with self._explained("list the models"):
            for name in self._names():
                try:
                    listed.append(self._describe(name, self._manifest(name)))
                except StoreError as error:
                    listed.append(self._describe_broken(name, str(error)))
                except FileNotFoundError:
                    # Another process removed it after the folder was read.
                    continue
        return sorted(listed, key=lambda model: model.modified, reverse=True)

    def not_found(self, name: ModelName, more: Iterable[ModelName] = ()) -> ModelNotFoundError:
        """Return the error for an unknown model name, with the nearest known name.

        `more` are the names of models outside the store and the package.
        """
        # The default tag is stripped, since a shared tag makes any two names look similar.
        known = [_short(n) for n in (*self._names(), *self._package.names(), *more)]
        close = hint(_short(name), known)
        return ModelNotFoundError(f"model '{name.display}' not found{close}")

    def _stage(
        self, model: Model, staging: Path, on_progress: OnProgress | None
    ) -> dict[Path, StagedBlob]:
        paths = (*shards_of(model.base), *model.files)
        sizes = {path: path.stat().st_size for path in paths}
        total_bytes = sum(sizes.values())
        staged: dict[Path, StagedBlob] = {}
        before = 0
        for path, size_bytes in sizes.items():

            def report(n_bytes: int, source: Path = path, start: int = before) -> None:
                if on_progress is not None:
                    on_progress(CopyProgress(source, start + n_bytes, total_bytes))

            staged[path] = self._blobs.stage(path, staging, report)
            before += size_bytes
        return staged

    def _write(self, name: ModelName, data: bytes, staging: Path) -> None:
        path = self._path_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data, beside=staging / uuid4().hex)
        sync_folder(path.parent)

    def _collect(self) -> None:
        """Remove unreferenced blobs; the caller holds the lock.

        Keeps all blobs if a manifest cannot be read, since it may name any of them.
        """
        used: set[str] = set()
        bases: list[tuple[Blob, ...]] = []
        for name in self._names():
            try:
                manifest = self._manifest(name)
            except StoreError:
                return
            used.update(blob.file_name for _, blob in manifest.parts)
            bases.append(manifest.base_blobs)
        self._blobs.remove_all_but(used, bases)

    def _names(self) -> Iterator[ModelName]:
        for path in sorted(self._manifests.glob("*/*/*/*")):
            try:
                name = ModelName(*path.relative_to(self._manifests).parts)
                is_name = ModelName.parse("/".join(name.path_parts[:3]) + f":{name.tag}") == name
            except ModelNameError:
                continue
            if is_name and path.is_file():
                yield name

    def _existing(self, name: ModelName) -> ModelName | None:
        """Return the stored name that equals `name` except for case; None if there is none."""
        return next((known for known in self._names() if known.folded == name.folded), None)

    def _path_of(self, name: ModelName) -> Path:
        return self._manifests.joinpath(*name.path_parts)

    def _manifest(self, name: ModelName) -> Manifest:
        return manifests.decode(self._path_of(name).read_bytes(), f"model {name.display}")

    def _checked_manifest(self, name: ModelName) -> Manifest:
        existing = self._existing(name)
        if existing is None:
            raise self.not_found(name)
        manifest = self._manifest(existing)
        written_ns = self._path_of(existing).stat().st_mtime_ns
        checked: set[Blob] = set()
        for what, blob in manifest.parts:
            if blob not in checked and not self._blobs.is_intact(blob, written_ns):
                raise StoreError(
                    f"model {existing.display} is damaged: the file of {what} is missing or has"
                    " changed; create the model again from its Modelfile"
                )
            checked.add(blob)
        if not self._blobs.has_split(manifest.base_blobs):
            raise StoreError(
                f"model {existing.display} is damaged: the links to the parts of its base are"
                " missing; create the model again from its Modelfile"
            )
        return manifest

    def _describe(self, name: ModelName, manifest: Manifest) -> ListedModel:
        return manifest.listed(name.display, self._modified(name), "created")

    def _describe_broken(self, name: ModelName, problem: str) -> ListedModel:
        return ListedModel(name.display, "", 0, self._modified(name), "created", 0, problem)

    def _modified(self, name: ModelName) -> datetime:
        return datetime.fromtimestamp(self._path_of(name).stat().st_mtime, UTC)

    def _not_removable(self, name: ModelName) -> ModelNotFoundError | PackagedModelError:
        if any(name.folded == packaged.folded for packaged in self._package.names()):
            return PackagedModelError(
                f"{name.display} comes with the program and cannot be removed"
            )
        return self.not_found(name)

    def _lock(self) -> FileLock:
        return FileLock(self._lock_path)

    def _make_folders(self) -> None:
        make_private(self._home)
        for folder in (self._manifests, self._blobs.folder, self._staging):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Convert an `OSError` to a `StoreError` with one sentence about `action`."""
        try:
            yield
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise StoreError(
                    f"cannot {action}: there is no space left for it in {self._home};"
                    " free some and try again"
                ) from error
            where = f": {printable(error.filename)}" if error.filename else ""
            reason = error.strerror or type(error).__name__
            raise StoreError(f"cannot {action}: {reason}{where}") from error


def _short(name: ModelName) -> str:
    return name.display.removesuffix(f":{DEFAULT_TAG}")
