"""Split the experts of a PEFT adapter into separate modules, as before transformers 5."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]
Pair = tuple[Floats, Floats]

PREFIX = "base_model.model."


def expert_pairs(tensors: Tensors, layer: int, *, n_experts: int, rank: int) -> list[Pair]:
    """Return A (n_experts, rank, n_in) and B (n_experts, n_out, rank) of gate, up and down.

    PEFT concatenates the ranks of all experts in A and interleaves them in B
    (`ParamWrapper.get_delta_weight`). Gate and up are one parameter, so they share A.
    """
    experts = f"{PREFIX}model.layers.{layer}.mlp.experts"
    found = []
    for wrapped in (f"{experts}.base_layer", experts):
        a, b = tensors[f"{wrapped}.lora_A.weight"], tensors[f"{wrapped}.lora_B.weight"]
        split_b = b.reshape(len(b), rank, n_experts).transpose(2, 0, 1)
        found.append((a.reshape(n_experts, rank, -1), np.ascontiguousarray(split_b)))
    (a, gate_up), down = found
    gate, up = np.split(gate_up, 2, axis=1)
    return [(a, gate), (a, up), down]


def with_expert_modules(
    tensors: Tensors,
    block: str,
    projections: tuple[str, str, str],
    *,
    n_layers: int,
    n_experts: int,
    rank: int,
) -> dict[str, Floats]:
    """Return the tensors with a pair for each projection of each expert.

    Their modules are `<layer>.<block>.experts.<n>.<projection>`; `projections` are the names of
    gate, up and down.
    """
    found = {name: values for name, values in tensors.items() if ".experts." not in name}
    for layer in range(n_layers):
        pairs = expert_pairs(tensors, layer, n_experts=n_experts, rank=rank)
        for projection, (a, b) in zip(projections, pairs, strict=True):
            for n in range(n_experts):
                path = f"{PREFIX}model.layers.{layer}.{block}.experts.{n}.{projection}"
                found[f"{path}.lora_A.weight"] = np.ascontiguousarray(a[n])
                found[f"{path}.lora_B.weight"] = np.ascontiguousarray(b[n])
    return found
