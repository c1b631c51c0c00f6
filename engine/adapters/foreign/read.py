"""Read a PEFT or MLX adapter in any supported file format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.adapters.foreign.card import read_card
from engine.adapters.foreign.find import (
    MLX_WEIGHTS,
    AdapterFiles,
    adapter_title,
    find_adapter,
    weight_format,
)
from engine.adapters.foreign.formats.safetensors import read_safetensors
from engine.adapters.foreign.formats.tensor import FileTensor
from engine.adapters.foreign.formats.untrusted_file import content_hash
from engine.adapters.foreign.mlx import mlx_modules
from engine.adapters.foreign.peft.config import name_of_base, peft_config, read_config
from engine.adapters.foreign.peft.modules import peft_modules
from engine.adapters.foreign.source import LoraSource
from modelfiles.wording import shown


def read_source(path: Path) -> LoraSource:
    """Read the adapter in a folder, or the one that a weights file belongs to.

    Supports PEFT (LoRA and AdaLoRA, safetensors or torch's format) and MLX (safetensors or .npz).
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
        modules, dropped = mlx_modules(files.config, fields, _tensors(weights))
        base_name = name_of_base(fields.get("model"))
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
    return LoraSource(
        path=path,
        files=(files.config, weights),
        kind="mlx" if is_mlx else "peft",
        modules=modules,
        sha256=content_hash((files.config, weights)),
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
    has_mlx_weights = any(path.name in MLX_WEIGHTS for path in files.weights)
    return "peft_type" not in fields and (has_mlx_weights or "lora_parameters" in fields)


def _tensors(weights: Path) -> Mapping[str, FileTensor]:
    # The archive readers are imported on demand because their imports take 11 ms.
    match weight_format(weights):
        case "safetensors":
            return read_safetensors(weights)
        case "torch":
            from engine.adapters.foreign.formats.torch_zip import read_torch_zip

            return read_torch_zip(weights)
        case "npz":
            from engine.adapters.foreign.formats.npz import read_npz

            return read_npz(weights)


def _preferred(files: AdapterFiles, is_mlx: bool) -> Path:
    """Return the weights that match the configuration; a folder may hold PEFT's and MLX's."""
    fitting = [path for path in files.weights if (path.name in MLX_WEIGHTS) == is_mlx]
    return (fitting or files.weights)[0]
