"""Find the adapters in a repository's file list: GGUF files, and PEFT and MLX folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Literal

from engine.adapters.foreign.find import (
    MISTRAL_WEIGHTS,
    MLX_WEIGHTS,
    PEFT_WEIGHTS,
    newest_checkpoint,
    newest_of_mlx,
)
from engine.adapters.foreign.mistral import PARAMS
from engine.adapters.foreign.peft.config import CONFIG
from engine.adapters.foreign.shards import INDEX, missing_parts, whole_name
from engine.errors import AdapterError, HubError
from engine.hub.client.gguf_files import HubFile, gguf_choices, is_safe, label_of, listing
from modelfiles.references.hub import HubReference
from modelfiles.wording import hint, quoted

AdapterKind = Literal["gguf", "peft", "mlx"]

CARD: Final = "README.md"
_PICKLES: Final = (".bin", ".npz")
_WEIGHTS: Final = sorted(
    (*PEFT_WEIGHTS, *MLX_WEIGHTS, MISTRAL_WEIGHTS), key=lambda name: name.endswith(_PICKLES)
)
"""Names of weights in order of preference, for folders that hold several."""


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """One adapter of a repository."""

    label: str
    """Name after the colon of a reference: path of the GGUF file or folder, '' for the root."""
    kind: AdapterKind
    weights: HubFile
    """The GGUF file, or the weights file of a folder, of several the first."""
    files: tuple[HubFile, ...]
    """Files to download: the GGUF file alone, or configuration, weights and card (if any)."""
    missing: tuple[str, ...] = ()
    """Names of the parts of the weights that the folder lacks."""
    notice: str = ""
    """One sentence if it was chosen among the checkpoints of one training, or ''."""

    @property
    def parts(self) -> tuple[HubFile, ...]:
        """The files of the weights, with their index if there is one."""
        name = whole_name(PurePosixPath(self.weights.path).name)
        return tuple(f for f in self.files if whole_name(PurePosixPath(f.path).name) == name)

    def require_whole(self, address: str) -> None:
        """Raise `HubError` if parts of the weights are missing; `address` names the repository."""
        if self.missing:
            place = f"{address}:{self.label}" if self.label else address
            raise HubError(
                f"{place} lacks {listing(self.missing)}, without which the adapter is not whole: "
                "choose another one, or tell its author."
            )

    @property
    def size_bytes(self) -> int:
        """Total size of its files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def is_pickle(self) -> bool:
        """Whether the weights are a .bin or .npz file, which has no header to judge it by."""
        return self.weights.path.endswith(_PICKLES)


def adapter_choices(files: Iterable[HubFile]) -> list[AdapterChoice]:
    """Return the adapters among a repository's files: GGUF first, then folders, each by name.

    The newest of the checkpoints of one training comes before the others.

    Unsplit GGUF files all count: only the header tells an adapter from a model.
    """
    known = {file.path: file for file in files if is_safe(file.path)}
    found = [
        AdapterChoice(choice.files[0].path, "gguf", choice.files[0], choice.files)
        for choice in gguf_choices(known.values())
        if choice.count == 1
    ]
    folders: dict[str, dict[str, HubFile]] = {}
    for path, file in sorted(known.items()):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name] = file
    inner = [c for folder, inside in sorted(folders.items()) if (c := _in_folder(folder, inside))]
    newest = _newest_checkpoint([choice for choice in inner if not choice.missing])
    if newest is not None:
        inner.sort(key=lambda choice: choice.label != newest.label)
    return [*found, *inner]


def chosen_adapter(reference: HubReference, files: Iterable[HubFile]) -> AdapterChoice:
    """Return the adapter that a reference means.

    Without a choice, return the only adapter, else the only GGUF file, else (if there is no GGUF
    file) the one in the root folder, else the newest checkpoint. The name of a folder chooses
    among the adapters in it in the same way. Raises `HubError`, which lists the candidates, if
    none or several match, or a part of the weights is missing.
    """
    choice = _chosen(reference, files)
    choice.require_whole(f"hf.co/{reference.repo}")
    return choice


def _chosen(reference: HubReference, files: Iterable[HubFile]) -> AdapterChoice:
    choices = adapter_choices(files)
    if not choices:
        raise HubError(
            f"{reference.display} holds no adapter: it has neither a GGUF file nor {CONFIG} with "
            "weights beside it; choose another repository."
        )
    if reference.choice is None:
        return _only(reference, choices)
    wanted = reference.choice.strip("/").lower()
    for rank in range(_N_NAMINGS):
        found = [
            c for c in choices if any(wanted in namings(f.path, c.kind)[rank] for f in c.parts)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            choices = found
            break
    else:
        inner = [c for c in choices if c.weights.path.lower().startswith(f"{wanted}/")]
        if inner:
            return _only(reference, inner)
        labels = [_shown(choice) for choice in choices]
        close = hint(reference.choice, labels)
        there = "there is" if len(labels) == 1 else "there are"
        raise HubError(
            f"hf.co/{reference.repo} has no adapter {quoted(reference.choice)}{close}: {there} "
            f"{listing(labels)}."
        )
    return _only(reference, choices)


_N_NAMINGS: Final = 3


def namings(weights: str, kind: AdapterKind) -> tuple[set[str], set[str], set[str]]:
    """Return the lower-case names a reference may give an adapter, in three ranks, best first.

    First the path of its weights or folder, then the last part of that path, then (GGUF only) the
    quantisation in the file's name.
    """
    path = PurePosixPath(weights.lower())
    if kind == "gguf":
        return {str(path)}, {path.name, path.stem}, {label_of(weights).lower()}
    return {str(path), str(path.parent)}, {path.parent.name}, set()


def _only(reference: HubReference, found: Sequence[AdapterChoice]) -> AdapterChoice:
    # An incomplete adapter beside others does not count, as on disk.
    choices = [c for c in found if not (c.missing and c.label)] or found
    ggufs = [choice for choice in choices if choice.kind == "gguf"]
    roots = [choice for choice in choices if choice.label == ""]
    for candidates in (choices, ggufs, roots if not ggufs else ()):
        if len(candidates) == 1:
            return candidates[0]
    newest = None if ggufs else _newest_checkpoint(choices)
    if newest is not None:
        return newest
    raise HubError(
        f"{reference.display} holds {len(choices)} adapters: name one behind a colon, "
        f"{listing([_shown(choice) for choice in choices])}."
    )


def _newest_checkpoint(choices: Sequence[AdapterChoice]) -> AdapterChoice | None:
    """Return the newest of the checkpoints in one folder; None if there are other adapters."""
    folders = {PurePosixPath(choice.label): choice for choice in choices}
    newest = newest_checkpoint(folders)
    if newest is None:
        return None
    folder, notice = newest
    return replace(folders[folder], notice=notice)


def _in_folder(folder: str, inside: Mapping[str, HubFile]) -> AdapterChoice | None:
    """Return the adapter whose files are directly in a folder, by their names, or None."""
    names = {whole_name(name) for name in inside}
    weights, notice = next((name for name in _WEIGHTS if name in names), None), ""
    if weights is None and (newest := newest_of_mlx(inside)):
        weights, notice = newest[0], f"{newest[1]}."
    is_mistral = weights == MISTRAL_WEIGHTS
    configs = [inside[n] for n in (CONFIG, *[PARAMS] * is_mistral) if n in inside]
    if weights is None or not configs:
        return None
    parts = [weights] if weights in inside else [n for n in inside if whole_name(n) == weights]
    shards = [name for name in parts if not name.endswith(INDEX)]
    try:
        missing = missing_parts(shards) if shards else (weights,)
    except AdapterError:  # numbered as no part of anything
        return None
    card = [inside[CARD]] if CARD in inside else []
    files = (*configs, *(inside[name] for name in parts), *card)
    is_mlx = weights in MLX_WEIGHTS or notice != ""
    first = inside[(shards or parts)[0]]
    return AdapterChoice(folder, "mlx" if is_mlx else "peft", first, files, missing, notice)


def _shown(choice: AdapterChoice) -> str:
    return choice.label or choice.weights.path
