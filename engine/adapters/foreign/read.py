"""Read a PEFT or MLX adapter in any supported file format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.adapters.foreign.card import read_card
from engine.adapters.foreign.find import (
    AdapterFiles,
    adapter_title,
    find_adapter,
    is_of_mlx,
)
from engine.adapters.foreign.formats.tensor import FileTensor
from engine.adapters.foreign.formats.untrusted_file import content_hash
from engine.adapters.foreign.formats.weights_file import read_weights
from engine.adapters.foreign.mistral import PARAMS, mistral_config, require_same_scale
from engine.adapters.foreign.mlx import mlx_modules
from engine.adapters.foreign.peft.config import CONFIG, name_of_base, peft_config, read_config
from engine.adapters.foreign.peft.modules import peft_modules
from engine.adapters.foreign.shards import Weights
from engine.adapters.foreign.source import LoraSource
from modelfiles.wording import shown


def read_source(path: Path) -> LoraSource:
    """Read the adapter in a folder, or the one that a weights file belongs to.

    Supports PEFT (LoRA and AdaLoRA, safetensors or torch's format), MLX (safetensors or .npz) and
    mistral-finetune (safetensors and params.json).
    Reads headers and configuration and hashes the weights; their values are read when a module's
    factors are requested. Raises `AdapterError` in one sentence if there is no adapter, it is
    damaged, or a pair of factors cannot express it.
    """
    files = find_adapter(path)
    fields = read_config(files.config)
    is_mlx = _is_mlx(files, fields)
    weights = _preferred(files, is_mlx)
    card = read_card(files.config.parent)
    invocation_tokens: tuple[int, ...] = ()
    notices = list(files.notices)
    if is_mlx:
        modules, dropped, told = mlx_modules(files.config, fields, _tensors(weights))
        notices += told
        base_name = name_of_base(fields.get("model"))
    else:
        if files.config.name == PARAMS:
            config = mistral_config(files.config, fields)
            require_same_scale(config, files.config.with_name(CONFIG))
        else:
            config = peft_config(files.config, fields)
        found = peft_modules(config, _tensors(weights))
        modules, dropped, base_name = found.modules, found.dropped, config.base_name
        invocation_tokens = config.invocation_tokens
        notices += found.notices
    if dropped:
        notices.append(
            f"Left out {_modules(len(dropped))} of a vision or audio tower, kept "
            f"{_modules(len(modules))} of the text model."
        )
    base_name = base_name or card.get("base_model", "")
    if "bnb-4bit" in base_name:
        notices.append(
            f"The adapter was trained on {shown(base_name)}, in 4 bits (NF4): on another "
            "quantisation answers differ a little."
        )
    read = (files.config, *weights.files)
    return LoraSource(
        path=path,
        files=read,
        kind="mlx" if is_mlx else "peft",
        modules=modules,
        sha256=content_hash(read),
        title=card.get("model_name") or adapter_title(files.config.parent),
        base_name=base_name,
        invocation_tokens=invocation_tokens,
        dropped=dropped,
        notices=tuple(notices),
    )


def _modules(count: int) -> str:
    return f"{count} module" if count == 1 else f"{count} modules"


def _is_mlx(files: AdapterFiles, fields: Mapping[str, object]) -> bool:
    """Return whether configuration and weights are MLX's; PEFT's always has a `peft_type`."""
    has_mlx_weights = any(map(is_of_mlx, files.weights))
    return "peft_type" not in fields and (has_mlx_weights or "lora_parameters" in fields)


def _tensors(weights: Weights) -> Mapping[str, FileTensor]:
    found = {file: read_weights(file) for file in weights.files}
    weights.require_whole(found)
    return {name: tensor for tensors in found.values() for name, tensor in tensors.items()}


def _preferred(files: AdapterFiles, is_mlx: bool) -> Weights:
    """Return the weights that match the configuration; a folder may hold PEFT's and MLX's."""
    fitting = [weights for weights in files.weights if is_of_mlx(weights) == is_mlx]
    return (fitting or files.weights)[0]
