"""Judge by a file's header whether an adapter on the Hub fits a base, before downloading it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from engine.adapters.checking.check import check_headers
from engine.adapters.checking.rules import require_kept
from engine.adapters.foreign.shards import INDEX
from engine.errors import EngineError, HubError
from engine.gguf.header import GgufHeader
from engine.hub.client.adapter_files import CARD, AdapterChoice
from engine.hub.client.heads import (
    RemoteHead,
    early_type,
    heads_folder,
    need_safetensors_header,
    remote_gguf_header,
)
from modelfiles.errors import naming

_MAX_HASHED_BYTES: Final = 2 * 2**30
"""Largest file judged: a reader hashes the whole sparse file, at about 1.7 GB/s."""


class Verdict(StrEnum):
    """Whether an adapter can be used with a base."""

    FITS = "fits"
    MISFIT = "does not fit"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Fit:
    """A verdict on an adapter, with its reason."""

    verdict: Verdict
    reason: str = ""
    """One sentence on why it does not fit or cannot be judged; '' if it fits."""
    n_fetched: int = 0
    """Bytes of the weights file fetched for the verdict."""


def fit_of(repo: str, choice: AdapterChoice, revision: str, base: GgufHeader) -> Fit:
    """Return whether an adapter of a repository fits `base`, judged by its header alone.

    A GGUF file is checked against every rule that needs no weights; for a PEFT or MLX folder the
    conversion is planned. Raises `HubError` if the Hub cannot be reached.
    """
    if choice.is_pickle:
        return Fit(Verdict.UNKNOWN, "Its weights are in a format that shows only when it is read.")
    try:
        choice.require_whole(f"hf.co/{repo}")
    except HubError as error:
        return Fit(Verdict.MISFIT, str(error))
    with heads_folder() as folder:
        weights = PurePosixPath(choice.weights.path)
        head = RemoteHead(repo, choice.weights.path, revision, folder / weights.name)
        if max(head.size_bytes, choice.size_bytes) > _MAX_HASHED_BYTES:
            return Fit(Verdict.UNKNOWN, "It is too large to be judged by its header.")
        try:
            names = {folder: _address_of(repo, weights.parent), base.path: "The base"}
            with naming(names):
                if choice.kind == "gguf":
                    _require_gguf_fits(head, base)
                else:
                    _require_convertible(repo, choice, revision, head, base)
        except HubError:
            raise
        except EngineError as error:
            return Fit(Verdict.MISFIT, str(error), head.n_fetched)
        return Fit(Verdict.FITS, "", head.n_fetched)


def _address_of(repo: str, folder: PurePosixPath) -> str:
    """Return the prefix of the references to the folder's files, `hf.co/user/repo:folder/`."""
    return f"hf.co/{repo}:" + (f"{folder}/" if folder.name else "")


def _require_gguf_fits(head: RemoteHead, base: GgufHeader) -> None:
    if early_type(head) == "model":
        raise EngineError("is a model, not a LoRA adapter.", head.path)
    require_kept(check_headers(remote_gguf_header(head), base))


def _require_convertible(
    repo: str, choice: AdapterChoice, revision: str, head: RemoteHead, base: GgufHeader
) -> None:
    from engine.adapters.conversion.placement.make_plan import make_plan
    from engine.adapters.foreign.read import read_source

    need_safetensors_header(head)
    for file in choice.files:
        name = PurePosixPath(file.path).name
        if file == choice.weights or name == CARD:
            continue
        other = RemoteHead(repo, file.path, revision, head.path.with_name(name))
        if file in choice.parts and not name.endswith(INDEX):
            need_safetensors_header(other)
        else:
            other.need(other.size_bytes)
    make_plan(read_source(head.path.parent), base)
