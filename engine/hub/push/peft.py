"""Check a PEFT folder for upload to the Hub: its configuration and weights, nothing else.

A folder of a training run also holds optimizer states, random states and pickles, which run code
when loaded; none of them is part of the adapter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.adapters.foreign.find import MLX_WEIGHTS, PEFT_WEIGHTS, newest_of_mlx
from engine.adapters.foreign.formats.safetensors import read_safetensors
from engine.adapters.foreign.peft.config import CONFIG, read_config
from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.shards import Weights, weights_in, whole_name
from engine.disk.regular_file import open_regular
from engine.errors import AdapterError
from engine.hub.push.gguf import hub_id
from engine.hub.push.publication import CARD, OutgoingFile, Publication
from modelfiles.wording import listed, shown

WEIGHTS, _PICKLE = PEFT_WEIGHTS
_LARGEST_TEXT_BYTES: Final = 16 * 2**20
_LARGEST_NUMBER: Final = 1e9
_MAX_LISTED: Final = 12
_MAX_SHOWN: Final = 120


def peft_publication(folder: Path, name: str | None = None) -> Publication:
    """Check a PEFT folder and return its publication.

    `name` is its title; by default the folder's name. Raises `AdapterError` if configuration or
    weights are missing or damaged, the weights are a pickle, or they hold NaN or infinity.
    """
    config_file = folder / CONFIG
    weights = _required_weights(folder)
    config = _config(config_file)
    n_tensors, dtypes = _tensors(weights)
    index = () if weights.index is None else (weights.index,)
    base = config.get("base_model_name_or_path")
    base_text = base if isinstance(base, str) else ""
    base_id = None if not base_text or _is_path(base_text) else hub_id(base_text)
    notices: tuple[str, ...] = ()
    if base_text and base_id is None:
        notices = (
            f"{config_file} names its base as {shown(base_text)}, which is no repository of the "
            "Hub, and is published with that text: change it there if nobody should read it.",
        )
    problem = _problem(folder)
    if problem is not None:
        notices = (*notices, f"It is published as it is, but cannot be used here: {problem}")
    readme = folder / CARD
    return Publication(
        kind="peft",
        method=str(config["peft_type"]).upper(),
        is_usable=problem is None,
        title=name or folder.resolve().name,
        files=tuple(map(_outgoing, (config_file, *weights.files, *index))),
        base_id=base_id or "",
        facts=(*_facts(config), ("weights", f"{n_tensors} tensors, {', '.join(dtypes)}")),
        readme=_text(readme, "card") if readme.exists() else None,
        notices=notices,
    )


def _required_weights(folder: Path) -> Weights:
    """Return the weights of a PEFT folder, whole or in parts; raise `AdapterError` if it is none.

    Parts are published whole, with their index.
    """
    if not (folder / CONFIG).is_file():
        inner = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        advice = (
            f"name one of the folders in it, {', '.join(map(shown, inner[:_MAX_LISTED]))}"
            if inner
            else "name the folder that PEFT saved the adapter in, or a GGUF file"
        )
        raise AdapterError(f"holds no {CONFIG}: {advice}.", folder)
    weights = weights_in(folder, WEIGHTS)
    if weights is not None:
        return weights
    if weights_in(folder, _PICKLE):
        raise AdapterError(
            f"holds a pickle, {_PICKLE}, which can run code where it is loaded: save the adapter "
            "as safetensors and publish that.",
            folder,
        )
    inside = {whole_name(file.name) for file in folder.iterdir()}
    if inside & {*MLX_WEIGHTS} or newest_of_mlx(inside):
        raise AdapterError(
            "holds an adapter of MLX: convert it with 'tui convert' and publish the GGUF file.",
            folder,
        )
    raise AdapterError(
        f"holds no {WEIGHTS}: name the folder that PEFT saved the adapter in.", folder
    )


def _config(file: Path) -> Mapping[str, Any]:
    config = read_config(file)
    if not isinstance(config.get("peft_type"), str):
        raise AdapterError("names no peft_type: name a folder saved by PEFT.", file)
    return config


def _is_path(text: str) -> bool:
    """Return whether a base name is an existing path, or text that no repository can have."""
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such home folder, a zero byte
        return True


def _problem(folder: Path) -> str | None:
    """Return one sentence on why the adapter cannot be converted; None if it can.

    Raises `AdapterError` if a factor holds NaN or infinity.
    """
    try:
        source = read_source(folder)
    except AdapterError as error:
        return str(error)
    for module in source.modules:
        for tensor in (module.a, module.b):
            if not np.isfinite(tensor.read()).all():
                raise AdapterError(
                    f"holds NaN or infinity in {shown(tensor.name)}: its training diverged; "
                    "publish another.",
                    folder,
                )
    return None


def _facts(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("method", str(config["peft_type"]))]
    for heading, key in (("rank", "r"), ("alpha", "lora_alpha")):
        value = config.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and is_number and abs(value) < _LARGEST_NUMBER:
            facts.append((heading, f"{value:g}"))
    for heading, key in (("rank by module", "rank_pattern"), ("alpha by module", "alpha_pattern")):
        patterns = config.get(key)
        if isinstance(patterns, dict) and patterns:
            facts.append((heading, _some([f"{k}: {v}" for k, v in patterns.items()])))
    variants = [name for name in ("use_rslora", "use_dora", "use_qalora") if config.get(name)]
    if variants:
        facts.append(("variant", ", ".join(variants)))
    targets = config.get("target_modules")
    if isinstance(targets, str) and targets:
        facts.append(("adapted", _some([targets])))
    elif isinstance(targets, list) and targets:
        # Of full module paths, one per layer, only the last part matters.
        names = sorted({str(target).rpartition(".")[2] or str(target) for target in targets})
        facts.append(("adapted", _some(names)))
    return facts


def _some(texts: Sequence[str]) -> str:
    shortened = [text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…" for text in texts]
    return listed(shortened, _MAX_LISTED)


def _tensors(weights: Weights) -> tuple[int, tuple[str, ...]]:
    """Return the number of tensors and their dtypes from the headers of safetensors files."""
    found = {file: read_safetensors(file) for file in weights.files}
    weights.require_whole(found)
    tensors = [tensor for inside in found.values() for tensor in inside.values()]
    if not any(math.prod(tensor.shape) for tensor in tensors):
        raise AdapterError("holds no weights: save the adapter again.", weights.files[0])
    return len(tensors), tuple(dict.fromkeys(tensor.dtype for tensor in tensors))


def _text(file: Path, what: str) -> str:
    opened, stamp = open_regular(file)
    with opened:
        if stamp.size_bytes > _LARGEST_TEXT_BYTES:
            raise AdapterError(f"is too large for a {what}: name another folder.", file)
        data = opened.readall()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AdapterError("is not text in UTF-8: save it again.", file) from None


def _outgoing(file: Path) -> OutgoingFile:
    opened, stamp = open_regular(file)
    with opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return OutgoingFile(file.name, file, stamp.size_bytes, digest)
