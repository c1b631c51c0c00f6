"""Read MLX adapters: `lora_a` and `lora_b` transposed, and a scale instead of alpha.

Source: `mlx_lm.tuner.lora` (LoRALinear, LoRAEmbedding, LoRASwitchLinear). A linear layer has
lora_a (n_in, rank) and lora_b (rank, n_out); experts have lora_a (n_experts, rank, n_in), in older
versions (rank * n_experts, n_in), and lora_b (n_experts, n_out, rank). Older versions of mlx-vlm
(`mlx_vlm.trainer.lora`, LoRaLayer) call the factors of a linear layer A and B, and give rank and
alpha in adapter_config.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine.adapters.foreign.formats.tensor import FileTensor, derived, transposed
from engine.adapters.foreign.module_names import (
    causal_path,
    is_embedding,
    is_of_other_tower,
    require_name,
    row_order,
    unwrapped,
)
from engine.adapters.foreign.peft.config import MAX_NUMBER, MAX_RANK
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.errors import AdapterError
from modelfiles.wording import shown

_VLM_PARTS: Final = {"A": "lora_a", "B": "lora_b"}
_VLM_PART: Final = re.compile(r"\.[AB]$")
_SWITCHES: Final = (".switch_mlp.", ".switch_glu.")


def mlx_modules(
    config: Path, fields: Mapping[str, object], tensors: Mapping[str, FileTensor]
) -> tuple[tuple[LoraModule, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the modules in file order, paths of dropped modules of other towers, and notices.

    Raises `AdapterError` if the adapter is not LoRA, its scale is ambiguous, or tensors do not
    fit each other.
    """
    _refuse_other_kinds(config, fields)
    is_of_vlm = "lora_parameters" not in fields and any(map(_VLM_PART.search, tensors))
    rank, scale = (_of_vlm if is_of_vlm else _rank_and_scale)(config, fields)
    pairs: dict[str, dict[str, FileTensor]] = {}
    dropped: set[str] = set()
    for name, tensor in tensors.items():
        require_name(tensor.path, name)
        module, _, part = unwrapped(name).rpartition(".")
        part = _VLM_PARTS.get(part, part)
        if is_of_other_tower(module):
            dropped.add(causal_path(module))
        elif part in ("lora_a", "lora_b") and module:
            pairs.setdefault(module, {})[part] = tensor
        else:
            raise _refusal(
                config,
                f"holds {shown(name)} beside its factors",
                "save it with fine_tune_type lora, or fuse it into its base with mlx_lm.fuse",
            )
    if not pairs:
        raise _refusal(config, "holds no LoRA factors of a text model", "check that it is complete")
    modules = tuple(_module(config, path, pair, rank, scale) for path, pair in pairs.items())
    paths = [module.path for module in modules]
    if len(set(paths)) < len(paths):
        raise _refusal(config, "adapts one module under several names", "save it again")
    return modules, tuple(sorted(dropped)), (_vlm_notice(rank, scale),) if is_of_vlm else ()


def _refuse_other_kinds(config: Path, fields: Mapping[str, object]) -> None:
    kind = fields.get("fine_tune_type", "lora")
    if fields.get("use_dora"):
        kind = "dora"
    if kind != "lora":
        raise _refusal(
            config,
            f"is of the kind {shown(str(kind))}, not lora",
            "fuse it into its base with mlx_lm.fuse, or train it with fine_tune_type lora",
        )


def _of_vlm(config: Path, fields: Mapping[str, object]) -> tuple[int, float]:
    rank, alpha = fields.get("rank"), fields.get("alpha")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise _refusal(config, "has no whole number as its rank", "correct adapter_config.json")
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        raise _refusal(config, "has no number as its alpha", "correct adapter_config.json")
    if not 0 < abs(alpha) <= MAX_NUMBER:
        raise _refusal(config, "has an alpha of 0 or without bounds", "correct adapter_config.json")
    return rank, alpha / rank


def _vlm_notice(rank: int, scale: float) -> str:
    # Blaizzy/mlx-vlm#846, merged in March 2026; nothing in the file tells the two apart.
    return (
        f"The scale was taken as alpha / rank, {scale:g}, as mlx-vlm does since March 2026; an "
        f"adapter trained before, with alpha itself, needs to be used at scale {rank}."
    )


def _rank_and_scale(config: Path, fields: Mapping[str, object]) -> tuple[int, float]:
    parameters = fields.get("lora_parameters")
    if not isinstance(parameters, dict):
        raise _refusal(
            config,
            "has no lora_parameters in its adapter_config.json, so its scale is not known",
            "add rank and scale there as they were in training",
        )
    rank, scale, alpha = parameters.get("rank"), parameters.get("scale"), parameters.get("alpha")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise _refusal(config, "has no whole number as its rank", "correct lora_parameters")
    if not isinstance(scale, (int, float)) or isinstance(scale, bool):
        raise _refusal(config, "has no number as its scale", "add the scale to lora_parameters")
    if not 0 < abs(scale) <= MAX_NUMBER:
        raise _refusal(config, "has a scale of 0 or without bounds", "correct lora_parameters")
    if alpha is not None and alpha != rank and "fine_tune_type" not in fields:
        raise _refusal(
            config,
            "has an alpha, which some early versions of MLX multiplied into the scale and later "
            "ones did not",
            "remove alpha and write the scale that was trained with, scale times alpha by rank "
            "in those early versions",
        )
    return rank, float(scale)


def _module(
    config: Path, module: str, pair: Mapping[str, FileTensor], rank: int, scale: float
) -> LoraModule:
    if len(pair) < 2:
        raise _refusal(config, f"has half a pair at {shown(module)}", "get its weights again")
    a, b = pair["lora_a"], pair["lora_b"]
    path = causal_path(module)
    if 0 in a.shape + b.shape:
        raise _refusal(config, f"has empty factors at {shown(module)}", "get its weights again")
    if len(a.shape) == len(b.shape) == 2 and a.shape[1] == b.shape[0] == rank:
        kind = ModuleKind.EMBEDDING if is_embedding(module) else ModuleKind.LINEAR
        stored_a, stored_b = transposed(a.stored()), transposed(b.stored())
        return LoraModule(path, kind, stored_a, stored_b, scale, row_order=row_order(module))
    if len(b.shape) == 3 and b.shape[2] == rank and a.shape:
        n_experts, n_in = b.shape[0], a.shape[-1]
        shape = (n_experts, rank, n_in)
        if a.shape in (shape, (n_experts * rank, n_in)):
            stored = derived(a.stored(), shape, lambda values: values.reshape(shape))
            return LoraModule(_expert_path(path), ModuleKind.EXPERTS, stored, b.stored(), scale)
    raise _refusal(
        config,
        f"has factors of {a.shape} and {b.shape} at {shown(module)}, which do not fit each other "
        f"or the rank {rank}",
        "get the configuration that was saved with these weights",
    )


def _expert_path(path: str) -> str:
    """Return the path as in transformers, where the experts are parameters of one module."""
    for switch in _SWITCHES:
        path = path.replace(switch, ".experts.")
    return path


def _refusal(config: Path, does: str, remedy: str) -> AdapterError:
    return AdapterError(f"{does}: {remedy}.", config.parent)
