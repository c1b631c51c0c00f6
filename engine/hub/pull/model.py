"""Pull a base model from the Hub into its cache, check it, and create it under its reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineError, HubError
from engine.gguf.model_header import require_base
from engine.hub.client.adapter_files import AdapterChoice, adapter_choices, chosen_adapter
from engine.hub.client.errors import explained
from engine.hub.client.gguf_files import GgufChoice, HubFile, chosen_gguf, gguf_choices
from engine.hub.client.heads import RemoteHead, early_type, heads_folder, remote_gguf_header
from engine.hub.client.info import RepositoryInfo
from engine.hub.pull.adapter import RemoteAdapter, revision_of
from engine.hub.pull.fetch import OnBytes, fetch, forget, missing_files
from modelfiles.errors import ModelNameError, StoreError
from modelfiles.model import ListedModel, Model
from modelfiles.references.hub import HubReference
from modelfiles.references.model_name import ModelName
from modelfiles.references.pulled_adapters import PulledAdapters
from modelfiles.store.created import ModelStore, OnProgress

_NO_TAG = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A base model on the Hub that a reference names, before it is downloaded."""

    repo: str
    revision: str
    """The commit, 40 hex digits."""
    name: str
    """Name of the model in the store: `hf.co/user/repo:Q4_K_M`."""
    files: tuple[HubFile, ...]
    """The GGUF file, or all parts of a split one in order."""
    adapters: tuple[str, ...] = ()
    """References of the PEFT and MLX adapters in the same repository."""

    @property
    def size_bytes(self) -> int:
        """Total size of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class PulledModel:
    """A base model in the store."""

    listed: ListedModel
    base: Path
    """Its GGUF file in the store."""
    is_new: bool
    """False if the store already held this content."""


def look_up_either(reference: HubReference, home: Path) -> RemoteAdapter | RemoteModel:
    """Ask the Hub whether a reference names an adapter or a base model.

    PEFT and MLX folders are recognised by their file names, a GGUF file by its header, which is
    fetched unless this file is below `home` already. A model's quantisation is chosen as in
    `hub.client.gguf_files.chosen_gguf`.

    Raises `HubError`, also if the repository holds neither, or several adapters.
    """
    info = revision_of(reference)
    adapter, refusal = _adapter(reference, info)
    if adapter is not None and adapter.kind != "gguf":
        return RemoteAdapter(info.repo, info.sha, adapter, info.base_models)
    gguf = _gguf(reference, info, adapter, refusal)
    beside = tuple(
        f"hf.co/{info.repo}:{choice.label or choice.weights.path}"
        for choice in adapter_choices(info.files)
        if choice.kind != "gguf"
    )
    model = RemoteModel(info.repo, info.sha, _model_name(info, gguf), gguf.files, beside)
    single = AdapterChoice(gguf.files[0].path, "gguf", gguf.files[0], gguf.files)
    record = PulledAdapters(home).find(info.repo, single.weights.path)
    is_known_adapter = record is not None and record.revision == info.sha
    if not is_known_adapter:
        if _held(model, ModelStore(home)) is not None:
            return model
        if not _is_adapter(model):
            return model
    if adapter is None and reference.choice is None:
        raise refusal or HubError(f"{reference.display} holds several adapters: name one.")
    return RemoteAdapter(info.repo, info.sha, single, info.base_models)


def pull_model(
    remote: RemoteModel,
    home: Path,
    *,
    on_bytes: OnBytes = lambda _done, _total: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    on_store: OnProgress | None = None,
) -> PulledModel:
    """Download a base model and create it in the store below `home`.

    The files lie in the Hub's cache, and the store links to them where the file system allows it.
    Content already in the store is not downloaded. Files that are not a model are removed if this
    call downloaded them.

    Raises:
        HubError: The Hub refuses or cannot be reached, the files are not a model, or the
            repository's name cannot be a model's name.
        Cancelled: `is_cancelled` returned True.
        StoreError: The model cannot be written.
    """
    store = ModelStore(home)
    try:
        ModelName.parse(remote.name)
    except ModelNameError as error:
        raise HubError(
            f"{remote.name} cannot be the name of a model: write a Modelfile that says "
            f"FROM hf.co/{remote.repo} and create it under another name."
        ) from error
    held = _held(remote, store)
    if held is not None:
        return PulledModel(held, store.get(held.name).base, is_new=False)
    missing = missing_files(remote.repo, remote.revision, remote.files)
    with explained(f"hf.co/{remote.repo}"):
        paths = fetch(
            remote.repo, remote.revision, remote.files, on_bytes, is_cancelled, is_cache_read=True
        )
    try:
        require_base(paths[0])
    except EngineError as error:
        for file, path in zip(remote.files, paths, strict=True):
            if file in missing:
                forget(path)
        error.about({paths[0]: f"hf.co/{remote.repo}"})
        raise HubError(error.reason, error.subject) from error
    listed = store.create(remote.name, Model("", paths[0]), on_store)
    return PulledModel(listed, store.get(listed.name).base, is_new=True)


def _adapter(
    reference: HubReference, info: RepositoryInfo
) -> tuple[AdapterChoice | None, HubError | None]:
    """Return the adapter a reference names, judged by file names, or the error against it."""
    try:
        return chosen_adapter(reference, info.files), None
    except HubError as error:
        return None, error


def _gguf(
    reference: HubReference,
    info: RepositoryInfo,
    adapter: AdapterChoice | None,
    refusal: HubError | None,
) -> GgufChoice:
    """Return the GGUF whose header decides between adapter and model; raises `HubError`."""
    choices = gguf_choices(info.files)
    if adapter is not None:
        return next(choice for choice in choices if choice.files == adapter.files)
    if not choices and refusal is not None:
        raise refusal
    try:
        return chosen_gguf(HubReference(info.repo, reference.choice, "model"), info.files)
    except HubError:
        has_folders = any(choice.kind != "gguf" for choice in adapter_choices(info.files))
        if has_folders and refusal is not None:
            raise refusal from None
        raise


def _model_name(info: RepositoryInfo, gguf: GgufChoice) -> str:
    """Return `hf.co/user/repo:Q4_K_M`; the tag is the file's stem if several share the label."""
    same = [choice for choice in gguf_choices(info.files) if choice.label == gguf.label]
    tag = gguf.label if len(same) == 1 else gguf.stem
    return f"hf.co/{info.repo}:{_NO_TAG.sub('-', tag).strip('-.')[:80] or 'latest'}"


def _held(remote: RemoteModel, store: ModelStore) -> ListedModel | None:
    """Return the store's model of that name if its base has the Hub's SHA-256, else None.

    Split models, and files whose digest the Hub does not give, count as not held.
    """
    sha256 = remote.files[0].sha256
    if len(remote.files) != 1 or sha256 is None:
        return None
    try:
        if not store.has(remote.name):
            return None
        model = store.get(remote.name)
    except (ModelNameError, StoreError):  # pull a damaged model again
        return None
    if model.base.name != f"sha256-{sha256}":
        return None
    return next((listed for listed in store.list() if listed.name == model.name), None)


def _is_adapter(remote: RemoteModel) -> bool:
    """Return whether the header of the first file says that it is an adapter."""
    with heads_folder() as folder:
        file = remote.files[0].path
        path = folder / "head.gguf"
        head = RemoteHead(remote.repo, file, remote.revision, path)
        told = early_type(head)
        if told is not None:
            return told == "adapter"
        try:
            return remote_gguf_header(head).is_adapter
        except EngineError as error:
            error.about({path: f"hf.co/{remote.repo}:{file}"})
            raise HubError(error.reason, error.subject) from error
