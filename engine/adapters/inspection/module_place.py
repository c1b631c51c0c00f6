"""Where in a model a tensor belongs: its layer, and which kind of module it is there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"(?P<stack>(?:\w+\.)??)blk\.(?P<layer>[0-9]+)\.(?P<module>.+)")
_USUAL_ORDER: Final = (
    *("attn_qkv", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)
# Where transformers keeps the layers of a causal language model: `model.layers.3.self_attn.q_proj`.
_MODULE: Final = re.compile(
    r"(?:\w+\.)*(?:layers|h|blocks|block)\.(?P<layer>[0-9]+)\.(?P<module>.+)"
)


@dataclass(frozen=True, slots=True)
class ModulePlace:
    """A tensor's layer and kind: of `blk.3.attn_q.weight` 3 and `attn_q`."""

    layer: int | None
    """None for what belongs to no layer, such as the embeddings."""
    module: str


def place_of(target: str) -> ModulePlace:
    """Return the place of a base tensor by its GGUF name, whatever the name is.

    Of models with two stacks of layers (`enc.blk.0.…`) the stack stays in the module's name.
    """
    name = target.removesuffix(".weight")
    match = _NAME.fullmatch(name)
    if match is None:
        return ModulePlace(None, name)
    return ModulePlace(int(match["layer"]), match["stack"] + match["module"])


def place_of_module(path: str) -> ModulePlace:
    """Return the place of a module by its name in transformers, whatever the name is."""
    match = _MODULE.fullmatch(path)
    if match is None:
        return ModulePlace(None, path)
    return ModulePlace(int(match["layer"]), match["module"])


def modules_in_order(modules: Iterable[str]) -> tuple[str, ...]:
    """Return each module once: attention and feed-forward as computed, then the others as met."""
    met = dict.fromkeys(modules)
    return tuple(sorted(met, key=_rank))


def _rank(module: str) -> int:
    last = module.rpartition(".")[2]
    return _USUAL_ORDER.index(last) if last in _USUAL_ORDER else len(_USUAL_ORDER)
