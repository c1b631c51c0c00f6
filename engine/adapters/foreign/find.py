"""Find the adapter that a folder or file path refers to."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from engine.adapters.foreign.formats.untrusted_file import require_content
from engine.disk.regular_file import unreadable
from engine.errors import AdapterError
from modelfiles.wording import listed, shown

CONFIG: Final = "adapter_config.json"
PEFT_WEIGHTS: Final = ("adapter_model.safetensors", "adapter_model.bin")
MLX_WEIGHTS: Final = ("adapters.safetensors", "adapters.npz")
_CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")
_MAX_LISTED: Final = 8

WeightFormat = Literal["safetensors", "torch", "npz"]
_FORMATS: Final[Mapping[str, WeightFormat]] = {
    ".safetensors": "safetensors",
    ".bin": "torch",
    ".pt": "torch",
    ".pth": "torch",
    ".npz": "npz",
}


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """The files of one adapter."""

    config: Path
    weights: tuple[Path, ...]
    """Existing candidates, the preferred first."""
    notices: tuple[str, ...] = ()


def find_adapter(path: Path) -> AdapterFiles:
    """Return configuration and weights of the adapter at `path`, a folder or a file.

    Takes the newest of several checkpoints. Raises `AdapterError` if there is no adapter, or
    several.
    """
    try:
        if not path.exists():
            raise AdapterError(f"There is no folder or file {str(path)!r}: check the path.")
        return _in_folder(path) if path.is_dir() else _named_file(path)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise AdapterError(unreadable(path, error)) from None


def weight_format(path: Path) -> WeightFormat:
    """Return the format of a file that `find_adapter` found, by its suffix.

    Raises `AdapterError` if it is empty, a git-lfs pointer, a web page, or already GGUF.
    """
    head = require_content(path)
    if head.startswith(b"GGUF"):
        raise _is_gguf(path)
    return _FORMATS[path.suffix]


def adapter_title(folder: Path) -> str:
    """Return a display name: the folder's, or that of the repository it was downloaded from."""
    folder = folder.absolute()
    if _CHECKPOINT.fullmatch(folder.name):
        return f"{adapter_title(folder.parent)} {folder.name}"
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.rpartition("--")[2]  # a snapshot in the Hub's cache
    return folder.name


def _named_file(path: Path) -> AdapterFiles:
    if path.name == CONFIG:
        return _in_folder(path.parent)
    if path.suffix == ".gguf" or require_content(path).startswith(b"GGUF"):
        raise _is_gguf(path)
    if path.suffix not in _FORMATS:
        raise AdapterError(
            f"{path} is no file of adapter weights: name the adapter's folder, or its "
            ".safetensors, .bin or .npz file."
        )
    config = path.with_name(CONFIG)
    if not config.is_file():
        raise AdapterError(
            f"There is no {CONFIG} beside {path}, and without it the scale of the factors is not "
            "known: get it from where the weights are from."
        )
    return AdapterFiles(config, (path,))


def _in_folder(folder: Path) -> AdapterFiles:
    found = _directly_in(folder)
    inner = [child for child in folder.iterdir() if child.is_dir()]
    adapters = {child: files for child in inner if (files := _directly_in_quietly(child))}
    checkpoints = {child for child in adapters if _CHECKPOINT.fullmatch(child.name)}
    if found is not None:
        return _beside(found, adapters.keys() - checkpoints)
    if not adapters:
        raise _no_adapter(folder)
    if len(adapters) == 1:
        (chosen,) = adapters
        notice = f"The adapter was taken from the folder {shown(chosen.name)}."
    elif len(checkpoints) == len(adapters):
        chosen = max(checkpoints, key=_step)
        notice = (
            f"Of {len(checkpoints)} checkpoints the newest was taken, {chosen.name}: name the "
            "folder of another one to use that."
        )
    else:
        raise AdapterError(f"{folder} holds several adapters: name one of {_listed(adapters)}.")
    return AdapterFiles(adapters[chosen].config, adapters[chosen].weights, (notice,))


def _beside(found: AdapterFiles, others: Collection[Path]) -> AdapterFiles:
    """Return the folder's own adapter, with a notice if PEFT saved named adapters inside it."""
    if not others:
        return found
    notice = f"The folder holds other adapters too; name it to use one of {_listed(others)}."
    return AdapterFiles(found.config, found.weights, (notice,))


def _listed(folders: Collection[Path]) -> str:
    return listed([shown(folder.name) for folder in sorted(folders)], _MAX_LISTED)


def _directly_in(folder: Path) -> AdapterFiles | None:
    """Return the adapter whose files are directly in this folder, or None."""
    weights = tuple(
        folder / name for name in (*PEFT_WEIGHTS, *MLX_WEIGHTS) if (folder / name).exists()
    )
    config = folder / CONFIG
    if config.exists() and weights:
        return AdapterFiles(config, weights)
    if config.exists():
        raise AdapterError(
            f"{folder} has {CONFIG} but no weights ({' or '.join(PEFT_WEIGHTS)}): download or "
            "copy them too."
        )
    if weights:
        return _named_file(weights[0])
    return None


def _directly_in_quietly(folder: Path) -> AdapterFiles | None:
    try:
        return _directly_in(folder)
    except AdapterError:  # an incomplete adapter beside others
        return None


def _step(folder: Path) -> int:
    match = _CHECKPOINT.fullmatch(folder.name)
    return int(match[1]) if match and len(match[1]) < 20 else -1


def _no_adapter(folder: Path) -> AdapterError:
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        return AdapterError(
            f"{folder} holds {shown(ggufs[0].name)}, which is GGUF already: name that file."
        )
    if any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin")):
        return AdapterError(
            f"{folder} holds a whole model, not an adapter: name the folder with {CONFIG}."
        )
    return AdapterError(
        f"{folder} holds no adapter: name a folder with {CONFIG} and {PEFT_WEIGHTS[0]}."
    )


def _is_gguf(path: Path) -> AdapterError:
    return AdapterError(f"{path} is GGUF already and needs no conversion: use it as it is.")
