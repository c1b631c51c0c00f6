"""Pull an adapter from the Hub into the Hub's own cache, check it, and record it under a name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from engine.adapters.checking.own_rules import own_rules_broken
from engine.adapters.checking.rules import require_kept
from engine.errors import EngineError, HubError
from engine.gguf.header import read_header
from engine.hub.client.adapter_files import AdapterChoice, chosen_adapter, namings
from engine.hub.client.errors import explained, is_unreachable
from engine.hub.client.heads import RemoteHead, early_type, heads_folder
from engine.hub.client.info import RepositoryInfo, repository_info
from engine.hub.pull.fetch import OnBytes, fetch, forget, missing_files
from modelfiles.references.hub import HubReference
from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters

_JUDGED_FROM_BYTES: Final = 2**20
"""Size above which the header is judged first; smaller adapters are simply downloaded."""


@dataclass(frozen=True, slots=True)
class RemoteAdapter:
    """An adapter on the Hub that a reference names, before it is downloaded."""

    repo: str
    revision: str
    """The commit, 40 hex digits."""
    choice: AdapterChoice
    base_models: tuple[str, ...]
    """The base models its card names."""

    @property
    def size_bytes(self) -> int:
        """Bytes to download if nothing is cached."""
        return self.choice.size_bytes


def look_up(reference: HubReference) -> RemoteAdapter:
    """Ask the Hub, in one request, for the adapter a reference names and its newest revision.

    Raises `HubError`, also if the repository holds none or several.
    """
    info = revision_of(reference)
    choice = chosen_adapter(reference, info.files)
    return RemoteAdapter(info.repo, info.sha, choice, info.base_models)


def revision_of(reference: HubReference) -> RepositoryInfo:
    """Ask the Hub for a repository's newest revision; raises `HubError`, also if it is empty."""
    with explained(f"hf.co/{reference.repo}"):
        info = repository_info(reference.repo)
    if not info.sha:
        raise HubError(f"hf.co/{reference.repo} has no revision yet: it is empty.")
    return info


def pull_adapter(
    reference: HubReference,
    home: Path,
    *,
    remote: RemoteAdapter | None = None,
    on_bytes: OnBytes = lambda _done, _total: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> PulledAdapter:
    """Download an adapter and return its record, kept below `home`.

    The files lie in the Hub's cache; a second pull of the same revision only asks for the
    revision. Without a network, the record of an earlier pull is returned. A weights file that
    fails the check is removed if this call downloaded it. A GGUF file over 1 MiB that is a model
    is refused before the download. Pass the result of `look_up` as `remote` to skip the request
    and this refusal.

    Raises:
        HubError: The Hub refuses or cannot be reached, or the files are not an adapter.
        Cancelled: `is_cancelled` returned True.
        StoreError: The record cannot be written.
    """
    pulled = PulledAdapters(home)
    is_unseen = remote is None
    if remote is None:
        try:
            remote = look_up(reference)
        except HubError as error:
            known = known_adapter(reference, pulled) if is_unreachable(error) else None
            if known is None:
                raise
            return known
    found = pulled.find(remote.repo, remote.choice.weights.path)
    lost = missing_files(remote.repo, remote.revision, remote.choice.parts)
    if found is not None and found.revision == remote.revision and found.is_there and not lost:
        return found
    remote.choice.require_whole(f"hf.co/{remote.repo}")
    files = remote.choice.files
    missing = missing_files(remote.repo, remote.revision, files)
    if is_unseen and missing and remote.size_bytes > _JUDGED_FROM_BYTES:
        _require_no_model(remote)
    with explained(f"hf.co/{remote.repo}"):
        paths = fetch(
            remote.repo, remote.revision, files, on_bytes, is_cancelled, is_cache_read=True
        )
    weights = paths[files.index(remote.choice.weights)]
    try:
        path = _checked(remote, weights)
    except HubError:
        # A file cached before this call may be in use elsewhere, as a model for instance.
        for file, part in zip(files, paths, strict=True):
            if file in missing and file in remote.choice.parts:
                forget(part)
        raise
    return pulled.put(
        PulledAdapter(
            name=_name(remote),
            repo=remote.repo,
            revision=remote.revision,
            file=remote.choice.weights.path,
            kind=remote.choice.kind,
            path=str(path),
            size_bytes=remote.size_bytes,
            pulled=datetime.now(UTC),
            base_models=remote.base_models,
            notice=remote.choice.notice,
        )
    )


def _require_no_model(remote: RemoteAdapter) -> None:
    """Raise `HubError` if the first keys of a GGUF file say that it is a model."""
    if remote.choice.kind != "gguf":
        return
    address = f"hf.co/{remote.repo}:{remote.choice.label}"
    with heads_folder() as folder:
        file = remote.choice.weights.path
        head = RemoteHead(remote.repo, file, remote.revision, folder / "head.gguf")
        if early_type(head) == "model":
            raise HubError(f"{address} is a model, not a LoRA adapter: name an adapter.")


def _checked(remote: RemoteAdapter, weights: Path) -> Path:
    """Check a downloaded adapter and return its GGUF file or its folder; raises `HubError`."""
    address = f"hf.co/{remote.repo}"
    try:
        if remote.choice.kind == "gguf":
            require_kept(own_rules_broken(read_header(weights)))
            return weights
        from engine.adapters.foreign.read import read_source

        read_source(weights.parent)
    except EngineError as error:
        error.about({weights: address, weights.parent: address})
        raise HubError(error.reason, error.subject) from error
    return weights.parent


def known_adapter(reference: HubReference, pulled: PulledAdapters) -> PulledAdapter | None:
    """Return the newest record that a reference may name and whose files exist."""
    wanted = (reference.choice or "").strip("/").lower()
    for record in pulled.list():
        is_meant = not wanted or any(wanted in names for names in namings(record.file, record.kind))
        if is_meant and record.repo.lower() == reference.repo.lower() and record.is_there:
            return record
    return None


def _name(remote: RemoteAdapter) -> str:
    """Return a short name for `ADAPTER` and `--lora`.

    A GGUF file gives its stem, a folder the repository's name (`ann/Llama-SQL-LoRA` becomes
    `llama-sql-lora`) and its own. A stem that says nothing, as in `adapter.gguf`, is replaced by
    the repository's name.
    """
    stem = PurePosixPath(remote.choice.weights.path).stem
    is_telling = remote.choice.kind == "gguf" and stem.lower() not in ("adapter", "lora", "model")
    title = stem if is_telling else remote.repo.partition("/")[2]
    if not is_telling and remote.choice.kind != "gguf" and remote.choice.label:
        title = f"{title}-{PurePosixPath(remote.choice.label).name}"
    return re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-._")[:60] or "adapter"
