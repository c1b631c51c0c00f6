"""Group the tensors of a PEFT adapter's weights into modules.

Source of the names and layouts: `peft.tuners.lora.layer` (Linear, Embedding, ParamWrapper) and
`peft.tuners.adalora.layer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from engine.adapters.foreign.formats.tensor import FileTensor, StoredTensor, derived
from engine.adapters.foreign.module_names import (
    LoraKey,
    causal_path,
    is_of_other_tower,
    is_of_torchtune,
    lora_key,
    require_name,
    row_order,
    unwrapped,
)
from engine.adapters.foreign.peft.config import PeftConfig
from engine.adapters.foreign.peft.contents import factors_missing, other_lora
from engine.adapters.foreign.peft.experts import (
    Wrapper,
    expert_modules,
    is_of_all_experts,
    shared_experts,
)
from engine.adapters.foreign.peft.factor_shapes import is_pruned, require_gathered, require_pair
from engine.adapters.foreign.peft.fields import MERGE
from engine.adapters.foreign.peft.whole_weights import EMBEDDING, LINEAR, require_nothing_whole
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.errors import AdapterError
from modelfiles.wording import shown

_ADALORA: Final = frozenset(("lora_A", "lora_B", "lora_E"))
_FACTORS: Final = LINEAR | EMBEDDING | _ADALORA
_IDLE_PARTS: Final = frozenset(("lora_velora_embed",))
"""Training buffers that the forward pass does not read."""


_Parts = dict[str, dict[str, FileTensor]]


@dataclass(frozen=True, slots=True)
class PeftModules:
    """The modules of an adapter, and those left out."""

    modules: tuple[LoraModule, ...]
    dropped: tuple[str, ...]
    notices: tuple[str, ...]


def peft_modules(config: PeftConfig, tensors: Mapping[str, FileTensor]) -> PeftModules:
    """Return the modules in file order.

    Raises `AdapterError` if tensors are missing, do not fit each other or the configuration, or
    cannot be expressed as a pair of factors.
    """
    if other := other_lora(tensors):
        config.refuse(f"holds {other[0]}", other[1])
    parts, others = _sorted_out(config, tensors)
    dropped = {module for module in parts if is_of_other_tower(module)}
    parts = {module: found for module, found in parts.items() if module not in dropped}
    dropped |= {name.rpartition(".")[0] for name in others if is_of_other_tower(name)}
    if parts or dropped:
        require_nothing_whole(config, others, parts)
    if not parts:
        if dropped:
            config.refuse(
                "changes nothing but a vision or audio tower",
                "a GGUF model for text has no such tower, so there is nothing to convert",
            )
        config.refuse(*factors_missing(tensors))
    pruned = _pruned(config, parts)
    modules: list[LoraModule] = []
    wrappers: dict[str, list[Wrapper]] = {}
    for module, found in parts.items():
        if module in pruned:
            continue
        plain = _without_base_layers(module)
        if _is_wrapped_parameter(config, module, frozenset(found)):
            a, b = _pair(config, module, found["lora_A"], found["lora_B"], is_summed=True)
            depth = module.count(".base_layer")
            wrappers.setdefault(plain, []).append(Wrapper(depth, a, b))
        elif plain != module:
            config.refuse(
                f"wraps {shown(plain)} twice", "save it again with one adapter on the model"
            )
        else:
            modules.append(_module(config, module, found))
    for module, wrapped in wrappers.items():
        modules += expert_modules(config, module, wrapped)
    _require_distinct(config, modules)
    return PeftModules(
        modules=tuple(modules),
        dropped=tuple(sorted(map(causal_path, dropped))),
        notices=(*_pruned_notices(pruned), *_notices(config, dropped)),
    )


def _pruned(config: PeftConfig, parts: _Parts) -> frozenset[str]:
    """Return the modules that AdaLoRA left rank 0; raise `AdapterError` if all are so."""
    if config.peft_type != "ADALORA":
        return frozenset()
    pruned = {m for m, f in parts.items() if f.keys() == _ADALORA and is_pruned(*_halves(f))}
    if len(pruned) == len(parts):
        config.refuse(
            "has rank 0 in all modules, so it changes nothing", "train it with a larger target_r"
        )
    return frozenset(pruned)


def _halves(found: Mapping[str, FileTensor]) -> tuple[FileTensor, FileTensor]:
    return found["lora_A"], found["lora_B"]


def _pruned_notices(pruned: frozenset[str]) -> tuple[str, ...]:
    if not pruned:
        return ()
    modules = "1 module" if len(pruned) == 1 else f"{len(pruned)} modules"
    return (f"{modules} that AdaLoRA pruned to rank 0 left out: they add nothing.",)


def _notices(config: PeftConfig, dropped: Iterable[str]) -> tuple[str, ...]:
    """Return a warning about modules in `modules_to_save` whose weights are missing."""
    steps = {step for module in dropped for step in module.split(".")}
    absent = [shown(name) for name in config.modules_to_save if name not in steps]
    if not absent:
        return ()
    return (
        f"adapter_config.json lists {', '.join(absent[:4])} as trained whole, but the weights lack "
        "it: the base's own is used, as in PEFT.",
    )


def _sorted_out(
    config: PeftConfig, tensors: Mapping[str, FileTensor]
) -> tuple[_Parts, dict[str, FileTensor]]:
    """Return LoRA tensors by module and part, and all others by unwrapped name."""
    parts: _Parts = {}
    others: dict[str, FileTensor] = {}
    factors: list[tuple[LoraKey, FileTensor]] = []
    for name, tensor in tensors.items():
        require_name(tensor.path, name)
        if is_of_torchtune(unwrapped(name)):
            config.refuse(
                f"has torchtune's own names ({shown(name)}), which do not tell the order of rows",
                "take the adapter_model.safetensors in PEFT's form that it writes beside it",
            )
        key = lora_key(name)
        if key is None:
            others[unwrapped(name)] = tensor
        elif key.part not in _IDLE_PARTS:
            factors.append((key, tensor))
    adapters = sorted({key.adapter for key, _ in factors})
    if len(adapters) > 1:
        named = ", ".join(shown(name) for name in adapters[:4])
        config.refuse(
            f"holds the factors of several adapters in one file ({named})",
            "save each with PEFT's save_pretrained, which gives it a folder of its own",
        )
    halves = (t for key, t in factors if key.part in _FACTORS and not key.is_bias)
    require_gathered(config, halves)
    for key, tensor in factors:
        _take(config, parts, key, tensor)
    return parts, others


def _take(config: PeftConfig, parts: _Parts, key: LoraKey, tensor: FileTensor) -> None:
    if key.part == "lora_magnitude_vector":
        config.refuse(
            "uses DoRA, which normalises the base's own weights",
            f"train it with use_dora=False, or {MERGE}",
        )
    if key.is_bias:
        config.refuse(
            f"has a bias on {key.part} of {shown(key.module)}, which llama.cpp cannot add",
            f"train it with lora_bias=False, or {MERGE}",
        )
    if key.part not in _FACTORS:
        config.refuse(
            f"has {shown(key.part)} at {shown(key.module)}, unknown in plain LoRA",
            MERGE,
        )
    found = parts.setdefault(key.module, {})
    if key.part in found:
        config.refuse(
            f"has {key.part} of {shown(key.module)} twice", "save it again from one training"
        )
    found[key.part] = tensor


def _is_wrapped_parameter(config: PeftConfig, module: str, found: frozenset[str]) -> bool:
    """Return whether a pair belongs to a parameter (`ParamWrapper`), not to a linear layer."""
    if found != LINEAR:
        return False
    plain = _without_base_layers(module)
    if plain.endswith(".experts"):
        return True
    owners = [target.rpartition(".")[0] for target in config.target_parameters]
    # A parameter named without its module may be anywhere; a nested wrapper shows where it is.
    return any(f".{plain}".endswith(f".{owner}") if owner else plain != module for owner in owners)


def _without_base_layers(module: str) -> str:
    while module.endswith(".base_layer"):
        module = module.removesuffix(".base_layer")
    return module


def _module(config: PeftConfig, module: str, found: Mapping[str, FileTensor]) -> LoraModule:
    have = frozenset(found)
    path = causal_path(module)
    if have == EMBEDDING:
        a, b = _pair(config, module, found["lora_embedding_A"], found["lora_embedding_B"])
        kind = ModuleKind.EMBEDDING
    elif have == LINEAR and is_of_all_experts(module, *_halves(found)):
        expected = config.scale_of((module, path))
        return shared_experts(config, module, *_halves(found), expected)
    elif have == LINEAR and config.peft_type == "LORA":
        a, b = _pair(config, module, found["lora_A"], found["lora_B"])
        kind = ModuleKind.LINEAR
    elif have == _ADALORA and config.peft_type == "ADALORA":
        a, b = _pair(config, module, found["lora_A"], found["lora_B"])
        a = _weighted(config, module, a, found["lora_E"])
        kind = ModuleKind.LINEAR
    else:
        missing = {"lora_A", "lora_B"} - have or {"lora_E"}
        named = ", ".join(sorted(missing if not have & EMBEDDING else EMBEDDING - have))
        config.refuse(
            f"lacks {named} of {shown(module)}", "its weights are incomplete, so get them again"
        )
    expected = config.scale_of((module, path))
    if config.peft_type == "LORA" and expected.rank != b.shape[1]:
        config.refuse(
            f"has rank {b.shape[1]} at {shown(module)} where adapter_config.json says "
            f"{expected.rank}",
            "get the configuration that was saved with these weights",
        )
    return LoraModule(path, kind, a, b, expected.scale, row_order=row_order(module))


def _pair(
    config: PeftConfig, module: str, a: FileTensor, b: FileTensor, *, is_summed: bool = False
) -> tuple[StoredTensor, StoredTensor]:
    """Return A and B; raise `AdapterError` if they are not matrices of equal rank."""
    is_given = config.peft_type == "LORA" and not is_summed
    rank = config.scale_of((module, causal_path(module))).rank if is_given else None
    require_pair(config, module, a, b, rank)
    return a.stored(), b.stored()


def _weighted(config: PeftConfig, module: str, a: StoredTensor, e: FileTensor) -> StoredTensor:
    """Return A with each row multiplied by its singular value, as in `SVDLinear`."""
    if e.shape != (a.shape[0], 1):
        config.refuse(
            f"has a lora_E of another size than its A at {shown(module)}",
            "its weights are damaged, so get them again",
        )
    values = e.stored()
    return derived(a, a.shape, lambda rows: rows * values.read())


def _require_distinct(config: PeftConfig, modules: Iterable[LoraModule]) -> None:
    seen: set[tuple[str, str]] = set()
    for module in modules:
        key = (module.path, module.a.name if module.parameters else "")
        if key in seen:
            raise AdapterError(
                f"adapts {shown(module.path)} twice under different names: save it again from one "
                "training.",
                config.path.parent,
            )
        seen.add(key)
