"""Find the adapters in a repository's file list: GGUF files, and PEFT and MLX folders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from engine.errors import HubError
from engine.hub.client.gguf_files import HubFile, gguf_choices, is_safe, label_of, listing
from modelfiles.references.hub import HubReference
from modelfiles.wording import hint, quoted

AdapterKind = Literal["gguf", "peft", "mlx"]

CONFIG: Final = "adapter_config.json"
CARD: Final = "README.md"
_WEIGHTS: Final[dict[str, AdapterKind]] = {
    # In order of preference, for folders that hold several.
    "adapter_model.safetensors": "peft",
    "adapters.safetensors": "mlx",
    "adapter_model.bin": "peft",
    "adapters.npz": "mlx",
}


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """One adapter of a repository."""

    label: str
    """Name after the colon of a reference: path of the GGUF file or folder, '' for the root."""
    kind: AdapterKind
    weights: HubFile
    """The GGUF file, or the weights file of a folder."""
    files: tuple[HubFile, ...]
    """Files to download: the GGUF file alone, or configuration, weights and card (if any)."""

    @property
    def size_bytes(self) -> int:
        """Total size of its files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def is_pickle(self) -> bool:
        """Whether the weights are a .bin or .npz file, which has no header to judge it by."""
        return self.weights.path.endswith((".bin", ".npz"))


def adapter_choices(files: Iterable[HubFile]) -> list[AdapterChoice]:
    """Return the adapters among a repository's files: GGUF first, then folders, each by name.

    Unsplit GGUF files all count: only the header tells an adapter from a model.
    """
    known = {file.path: file for file in files if is_safe(file.path)}
    found = [
        AdapterChoice(choice.files[0].path, "gguf", choice.files[0], choice.files)
        for choice in gguf_choices(known.values())
        if choice.count == 1
    ]
    folders = sorted({str(PurePosixPath(path).parent) for path in known})
    for folder in folders:
        choice = _in_folder("" if folder == "." else folder, known)
        if choice is not None:
            found.append(choice)
    return found


def chosen_adapter(reference: HubReference, files: Iterable[HubFile]) -> AdapterChoice:
    """Return the adapter that a reference means.

    Without a choice, return the only adapter, else the only GGUF file, else (if there is no GGUF
    file) the one in the root folder. Raises `HubError`, which lists the candidates, if none or
    several match.
    """
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
        found = [c for c in choices if wanted in namings(c.weights.path, c.kind)[rank]]
        if len(found) == 1:
            return found[0]
        if found:
            choices = found
            break
    else:
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


def _only(reference: HubReference, choices: Sequence[AdapterChoice]) -> AdapterChoice:
    ggufs = [choice for choice in choices if choice.kind == "gguf"]
    roots = [choice for choice in choices if choice.label == ""]
    for candidates in (choices, ggufs, roots if not ggufs else ()):
        if len(candidates) == 1:
            return candidates[0]
    raise HubError(
        f"{reference.display} holds {len(choices)} adapters: name one behind a colon, "
        f"{listing([_shown(choice) for choice in choices])}."
    )


def _in_folder(folder: str, known: dict[str, HubFile]) -> AdapterChoice | None:
    prefix = f"{folder}/" if folder else ""
    config = known.get(prefix + CONFIG)
    weights = [known[prefix + name] for name in _WEIGHTS if prefix + name in known]
    if config is None or not weights:
        return None
    kind = _WEIGHTS[PurePosixPath(weights[0].path).name]
    card = known.get(prefix + CARD)
    files = (config, weights[0], *(() if card is None else (card,)))
    return AdapterChoice(folder, kind, weights[0], files)


def _shown(choice: AdapterChoice) -> str:
    return choice.label or choice.weights.path
