"""Find the adapter that a folder or file path refers to."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final, TypeVar

from engine.adapters.foreign.formats.untrusted_file import require_content
from engine.adapters.foreign.formats.weights_file import FORMATS, is_gguf_already
from engine.adapters.foreign.mistral import PARAMS, has_lora
from engine.adapters.foreign.peft.config import CONFIG
from engine.adapters.foreign.shards import INDEX, Weights, weights_at, weights_in
from engine.disk.regular_file import unreadable
from engine.errors import AdapterError
from modelfiles.wording import listed, shown

PEFT_WEIGHTS: Final = ("adapter_model.safetensors", "adapter_model.bin")
MLX_WEIGHTS: Final = ("adapters.safetensors", "adapters.npz")
MISTRAL_WEIGHTS: Final = "lora.safetensors"
_CHECKPOINT: Final = re.compile(r"(checkpoint|epoch|iter|step|global_step)[-_](\d{1,19})(_hf)?")
"""Folders of checkpoints: PEFT's and MLX's, mistral-finetune's (`checkpoint_000100`), torchtune's
(`epoch_0`) and xtuner's (`iter_500_hf`)."""
_CONSOLIDATED: Final = "consolidated"
"""Folder inside a checkpoint of mistral-finetune."""
_MLX_CHECKPOINT: Final = re.compile(r"(\d{1,19})_(adapters\.(?:safetensors|npz))")
_OF_TRAINING: Final = re.compile(r"optimizer|scheduler|training_args|rng_state|scaler|random_state")
"""Files that a training keeps beside the weights, to go on from."""
_MAX_LISTED: Final = 8
_Folder = TypeVar("_Folder", bound=PurePath)


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """The files of one adapter."""

    config: Path
    weights: tuple[Weights, ...]
    """Existing candidates, the preferred first."""
    notices: tuple[str, ...] = ()


def find_adapter(path: Path) -> AdapterFiles:
    """Return configuration and weights of the adapter at `path`, a folder or a file.

    Takes the newest of several checkpoints. Raises `AdapterError` if there is no adapter, or
    several.
    """
    try:
        if not path.exists():
            raise AdapterError("does not exist: check the path.", path)
        return _in_folder(path) if path.is_dir() else _named_file(path)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise AdapterError(unreadable(error), path) from None


def adapter_title(folder: Path) -> str:
    """Return a display name: the folder's, or that of the repository it was downloaded from."""
    folder = folder.absolute()
    if folder.name == _CONSOLIDATED:
        return adapter_title(folder.parent)
    if _CHECKPOINT.fullmatch(folder.name):
        return f"{adapter_title(folder.parent)} {folder.name}"
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.rpartition("--")[2]  # a snapshot in the Hub's cache
    return folder.name


def is_of_mlx(weights: Weights) -> bool:
    """Return whether weights have a name that MLX gives them, `0000100_adapters.safetensors`."""
    return weights.name in MLX_WEIGHTS or _MLX_CHECKPOINT.fullmatch(weights.name) is not None


def _named_file(path: Path) -> AdapterFiles:
    if path.name in (CONFIG, PARAMS):
        return _in_folder(path.parent)
    is_index = path.name.endswith(INDEX)
    if not is_index and (path.suffix == ".gguf" or require_content(path).startswith(b"GGUF")):
        raise is_gguf_already(path)
    weights = weights_at(path)
    if Path(weights.name).suffix not in FORMATS:
        raise AdapterError(
            "holds no adapter weights: name the adapter's folder, or a .safetensors, .bin or .npz "
            "file.",
            path,
        )
    notices: tuple[str, ...] = ()
    if len(weights.files) > 1 and not is_index:
        notices = (f"{path} is one of {len(weights.files)} parts, which were all read.",)
    return AdapterFiles(_config_beside(path, weights), (weights,), notices)


def _config_beside(path: Path, weights: Weights) -> Path:
    """Return the configuration that belongs to weights; raise `AdapterError` if there is none."""
    params = path.with_name(PARAMS)
    if weights.name == MISTRAL_WEIGHTS and params.is_file() and has_lora(params):
        return params
    config = path.with_name(CONFIG)
    if not config.is_file():
        from engine.adapters.foreign.peft.contents import require_factors

        for file in weights.files:
            require_factors(file)
        raise AdapterError(
            f"has no {CONFIG} beside it, which gives the scale: get it from where the weights are "
            "from.",
            path,
        )
    return config


def _in_folder(folder: Path) -> AdapterFiles:
    found = _directly_in(folder)
    inner = [_or_consolidated(child) for child in folder.iterdir() if child.is_dir()]
    adapters = {child: files for child in inner if (files := _directly_in_quietly(child))}
    checkpoints = {child for child in adapters if _step(child) is not None}
    if found is not None:
        return _beside(found, adapters.keys() - checkpoints)
    if not adapters:
        raise _no_adapter(folder)
    if len(adapters) == 1:
        (chosen,) = adapters
        notice = f"The adapter was taken from the folder {shown(_shown_name(chosen))}."
    elif newest := newest_checkpoint(adapters):
        chosen, notice = newest
    else:
        raise AdapterError(f"holds several adapters: name one of {_listed(adapters)}.", folder)
    files = adapters[chosen]
    return replace(files, notices=(notice, *files.notices))


def newest_checkpoint(folders: Collection[_Folder]) -> tuple[_Folder, str] | None:
    """Return the newest of the checkpoints of one training, and a notice; None for other folders.

    `folders` are all that hold an adapter.
    """
    steps = {folder: step for folder in folders if (step := _step(folder)) is not None}
    trainings = {(_saved(folder).parent, kind) for folder, (kind, _) in steps.items()}
    if len(steps) < len(folders) or len(trainings) != 1:
        return None
    chosen = max(steps, key=lambda folder: steps[folder][1])
    return chosen, (
        f"Of {len(steps)} checkpoints the newest was taken, {_shown_name(chosen)}: name the folder "
        "of another one to use that."
    )


def _or_consolidated(folder: Path) -> Path:
    inner = folder / _CONSOLIDATED
    return inner if inner.is_dir() else folder


def _saved(folder: PurePath) -> PurePath:
    return folder.parent if folder.name == _CONSOLIDATED else folder


def _shown_name(folder: PurePath) -> str:
    return _saved(folder).name


def _beside(found: AdapterFiles, others: Collection[Path]) -> AdapterFiles:
    """Return the folder's own adapter, with a notice if PEFT saved named adapters inside it."""
    if not others:
        return found
    notice = f"The folder holds other adapters too; name it to use one of {_listed(others)}."
    return replace(found, notices=(notice, *found.notices))


def _listed(folders: Collection[Path]) -> str:
    return listed(sorted(shown(_shown_name(folder)) for folder in folders), _MAX_LISTED)


def _directly_in(folder: Path) -> AdapterFiles | None:
    """Return the adapter whose files are directly in this folder, or None."""
    names = (*PEFT_WEIGHTS, *MLX_WEIGHTS, MISTRAL_WEIGHTS)
    weights = tuple(found for name in names if (found := weights_in(folder, name)))
    notices: tuple[str, ...] = ()
    if not any(is_of_mlx(found) for found in weights):
        newest, notices = _newest_of_mlx(folder)
        weights += newest
    config = folder / CONFIG
    if not weights:
        if config.exists():
            _require_no_others(folder)
            raise AdapterError(
                f"has {CONFIG} but no weights ({' or '.join(PEFT_WEIGHTS)}): download them too.",
                folder,
            )
        return None
    if not config.exists() or weights[0].name == MISTRAL_WEIGHTS:
        config = _config_beside(weights[0].files[0], weights[0])
    return AdapterFiles(config, weights, notices)


def _newest_of_mlx(folder: Path) -> tuple[tuple[Weights, ...], tuple[str, ...]]:
    """Return the newest numbered checkpoint of MLX in a folder, with a notice if it is not alone.

    `mlx_lm.lora` saves `0000100_adapters.safetensors` … while it trains, and `adapters.safetensors`
    at its end.
    """
    newest = newest_of_mlx([file.name for file in folder.glob("*_adapters.*")])
    if newest is None:
        return (), ()
    name, notice = newest
    return (weights_at(folder / name),), (f"{notice}: name the file of another one to use that.",)


def newest_of_mlx(names: Collection[str]) -> tuple[str, str] | None:
    """Return the newest of MLX's numbered checkpoints in a folder, and a notice without its end."""
    steps = {name: int(match[1]) for name in names if (match := _MLX_CHECKPOINT.fullmatch(name))}
    if not steps:
        return None
    newest = max(steps, key=lambda name: (steps[name], name))
    return newest, (
        f"The training has not saved its last state; of {len(steps)} checkpoints the newest was "
        f"taken, {newest}"
    )


def _directly_in_quietly(folder: Path) -> AdapterFiles | None:
    try:
        return _directly_in(folder)
    except AdapterError:  # an incomplete adapter beside others
        return None


def _step(folder: PurePath) -> tuple[str, int] | None:
    """Return the kind and number of a checkpoint's folder, or None."""
    match = _CHECKPOINT.fullmatch(_shown_name(folder))
    return (match[1], int(match[2])) if match else None


def _require_no_others(folder: Path) -> None:
    """Raise `AdapterError` if the folder has weights under another name that are no adapter."""
    others = sorted(
        file
        for file in folder.iterdir()
        if file.suffix in FORMATS and file.is_file() and not _OF_TRAINING.match(file.name)
    )
    for file in others:
        require_content(file)
    if others:
        names = listed([shown(file.name) for file in others], _MAX_LISTED)
        raise AdapterError(
            f"has no {PEFT_WEIGHTS[0]}, but {names}: name the file of the adapter.", folder
        )


def _no_adapter(folder: Path) -> AdapterError:
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        return AdapterError(
            f"holds {shown(ggufs[0].name)}, which is GGUF already: name that file.", folder
        )
    if any(folder.glob("*.distcp")):
        return AdapterError(
            "holds a checkpoint of torch's distributed training: save it again with the full state "
            "dict (FULL_STATE_DICT).",
            folder,
        )
    if any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin")):
        return AdapterError(
            f"holds a whole model, not an adapter: name the folder with {CONFIG}.", folder
        )
    _require_no_others(folder)
    return AdapterError(
        f"holds no adapter: name a folder with {CONFIG} and {PEFT_WEIGHTS[0]}.", folder
    )
