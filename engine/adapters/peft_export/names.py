"""Name modules and parameters as PEFT does: weight keys and the configuration's targets.

Source: `LoraModel` and `ParamWrapper` of PEFT 0.21. PEFT wraps a module for each of its adapted
parameters, such as the weights of all experts: the wrappers nest in the order in which the module
defines the parameters, and all but the outermost are called `base_layer`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from engine.adapters.conversion.placement.base_model import known_base
from engine.adapters.foreign.source import ModuleKind
from engine.adapters.peft_export.namings import NAMINGS
from engine.gguf.header import GgufHeader

_PREFIX: Final = "base_model.model."
_IN_LAYER: Final = re.compile(r".*?\.\d+\.(.+)")
_DEFINED_FIRST: Final = ("gate_up_proj", "up_proj", "down_proj")
"""Order of the parameters in every expert module of transformers."""
_ONCE_OF_EXPERTS: Final = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class PeftNames:
    """PEFT's names for one adapter."""

    modules: tuple[str, ...]
    """`target_modules`: the last name if it is unambiguous, else more of the path."""
    parameters: tuple[str, ...]
    """`target_parameters`, each with its module's path inside a layer."""

    @classmethod
    def of(cls, paths: Sequence[tuple[str, ModuleKind]], base: GgufHeader) -> Self:
        """Return the names for modules of `base`, each given by its path and kind."""
        parameters = {_in_layer(path) for path, kind in paths if kind is ModuleKind.EXPERTS}
        modules = [path for path, kind in paths if kind is not ModuleKind.EXPERTS]
        return cls(tuple(sorted(_targets(modules, base))), tuple(sorted(parameters)))

    def mistaken(self, base: GgufHeader) -> tuple[str, ...]:
        """Return the `target_modules` that PEFT mistakes for expert parameters.

        In a model with experts PEFT takes every module called `gate_proj`, `up_proj` or `down_proj`
        for the experts' of transformers 4, also those of a shared expert or a dense layer, and then
        fails on the size of their weights (`_convert_peft_config_moe` of PEFT 0.21).
        """
        if not base.integer(f"{base.architecture}.expert_count"):
            return ()
        return tuple(name for name in self.modules if _last(name) in _ONCE_OF_EXPERTS)

    def keys(self, path: str, kind: ModuleKind) -> tuple[str, str]:
        """Return the keys of A and B in the weights file."""
        if kind is ModuleKind.EMBEDDING:  # PEFT stores parameters here, not layers with a weight
            return f"{_PREFIX}{path}.lora_embedding_A", f"{_PREFIX}{path}.lora_embedding_B"
        if kind is ModuleKind.EXPERTS:
            module, _, name = path.rpartition(".")
            path = module + ".base_layer" * self._n_around(_in_layer(module), name)
        return f"{_PREFIX}{path}.lora_A.weight", f"{_PREFIX}{path}.lora_B.weight"

    def _n_around(self, module: str, name: str) -> int:
        """Return the number of wrappers of the same module around this parameter's."""
        if name not in _DEFINED_FIRST:
            return 0
        later = _DEFINED_FIRST[_DEFINED_FIRST.index(name) + 1 :]
        return sum(f"{module}.{other}" in self.parameters for other in later)


def _targets(paths: Sequence[str], base: GgufHeader) -> set[str]:
    """Return the shortest names that match these modules and no others in PEFT.

    PEFT warns about a wrapped module without weights in the file, although it has no effect.
    """
    n_layers = base.integer(f"{base.architecture}.block_count") or 0
    has_experts = bool(base.integer(f"{base.architecture}.expert_count"))
    counts = Counter(_in_layer(path) for path in paths)
    known = _known_modules(base)
    targets = set()
    for path in paths:
        name, last = _in_layer(path), _last(path)
        is_namesake = any(_last(other) == last and other not in counts for other in known)
        if name == path:  # outside the layers, such as `lm_head`
            targets.add(last)
        elif counts[name] < n_layers:
            targets.add(path)
        else:
            # PEFT takes a bare `gate_proj` for the experts' parameters of that name.
            targets.add(name if has_experts or is_namesake else last)
    return targets


def _known_modules(base: GgufHeader) -> tuple[str, ...]:
    """Return the linear modules that a layer without experts may have."""
    naming = NAMINGS[known_base(base).architecture.naming]
    return tuple(name for name in naming.modules if "expert" not in name)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _in_layer(path: str) -> str:
    """Return the path after the layer number, such as `mlp.experts.down_proj`."""
    match = _IN_LAYER.fullmatch(path)
    return match[1] if match else path
