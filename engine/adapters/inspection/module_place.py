"""Parse the layer and the kind of module from a tensor's or module's name."""

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
# Layer paths of causal language models in transformers: `model.layers.3.self_attn.q_proj`.
_MODULE: Final = re.compile(
    r"(?:\w+\.)*(?:layers|h|blocks|block)\.(?P<layer>[0-9]+)\.(?P<module>.+)"
)


@dataclass(frozen=True, slots=True)
class ModulePlace:
    """A tensor's layer and kind of module: 3 and `attn_q` for `blk.3.attn_q.weight`."""

    layer: int | None
    """Layer index; None outside the layers, as for the embeddings."""
    module: str


def place_of(target: str) -> ModulePlace:
    """Return the place of a base tensor from its GGUF name; accepts any name.

    In models with two stacks of layers (`enc.blk.0.…`), the stack stays in the module's name.
    """
    name = target.removesuffix(".weight")
    match = _NAME.fullmatch(name)
    if match is None:
        return ModulePlace(None, name)
    return ModulePlace(int(match["layer"]), match["stack"] + match["module"])


def place_of_module(path: str) -> ModulePlace:
    """Return the place of a module from its name in transformers; accepts any name."""
    match = _MODULE.fullmatch(path)
    if match is None:
        return ModulePlace(None, path)
    return ModulePlace(int(match["layer"]), match["module"])


def modules_in_order(modules: Iterable[str]) -> tuple[str, ...]:
    """Return each module once: attention and feed-forward in compute order, then the others."""
    met = dict.fromkeys(modules)
    return tuple(sorted(met, key=_rank))


def _rank(module: str) -> int:
    last = module.rpartition(".")[2]
    return _USUAL_ORDER.index(last) if last in _USUAL_ORDER else len(_USUAL_ORDER)
