"""Read expert factors as PEFT's `ParamWrapper` stores them: all experts in one matrix.

A is (experts * rank, n_in) with the experts outermost; B is (n_out, rank * experts) with the
experts innermost. A module with several adapted parameters is wrapped once for each, one wrapper
inside the other; the names give only the depth of a wrapper (`experts.base_layer.lora_A`), not its
parameter.

Tinker stores experts with three dimensions, under `experts.w1`, `w2` and `w3`: A (experts, rank,
n_in) and B (experts, n_out, rank), one of the two often once for all experts (`tinker_cookbook`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.adapters.foreign.formats.tensor import FileTensor, StoredTensor, derived
from engine.adapters.foreign.module_names import causal_path
from engine.adapters.foreign.peft.config import ModuleScale, PeftConfig
from engine.adapters.foreign.peft.fields import MERGE
from engine.adapters.foreign.source import LoraModule, ModuleKind
from modelfiles.wording import shown

GATE_UP: Final = "gate_up_proj"
DOWN: Final = "down_proj"


@dataclass(frozen=True, slots=True)
class Wrapper:
    """The pair of one adapted parameter as stored in the file."""

    depth: int
    """Number of wrappers around it."""
    a: StoredTensor
    """(experts * rank, n_in)."""
    b: StoredTensor
    """(n_out, rank * experts)."""


def expert_modules(
    config: PeftConfig, module: str, wrappers: Sequence[Wrapper]
) -> list[LoraModule]:
    """Return one LoRA module for each wrapper around a module that holds expert parameters.

    Names two wrappers whose shapes are those of a fused gate-and-up and of a down projection, and
    undoes the swap of inputs and outputs of PEFT before 0.19 there. Raises `AdapterError` if the
    number of experts cannot be determined.
    """
    wrappers = sorted(wrappers, key=lambda wrapper: wrapper.depth)
    candidates = _candidates(config, module)
    sure, is_swapped = _told_apart(wrappers, candidates)
    made = []
    for wrapper, parameter in zip(wrappers, sure, strict=True):
        names = (parameter,) if parameter else candidates
        expected = _scale(config, module, wrapper, names)
        made.append(_module(module, wrapper, expected, parameter, candidates, is_swapped))
    return made


def is_of_all_experts(module: str, a: FileTensor, b: FileTensor) -> bool:
    """Return whether a pair has one matrix for each expert, as in Tinker's adapters."""
    return ".experts." in module and len(a.shape) == len(b.shape) == 3


def shared_experts(
    config: PeftConfig, module: str, a: FileTensor, b: FileTensor, expected: ModuleScale
) -> LoraModule:
    """Return the module of all experts, with a half that they share repeated for each.

    Raises `AdapterError` if the halves do not fit each other or the rank.
    """
    (n_a, rank_a, n_in), (n_b, n_out, rank_b) = a.shape, b.shape
    n_experts = max(n_a, n_b)
    is_fit = {n_a, n_b} <= {1, n_experts} and 0 not in (*a.shape, *b.shape)
    if not is_fit or not rank_a == rank_b == expected.rank:
        config.refuse(
            f"has factors of {a.shape} and {b.shape} at {shown(module)}, which do not fit each "
            f"other or the rank {expected.rank}",
            "get the configuration that was saved with these weights",
        )
    return LoraModule(
        path=causal_path(module),
        kind=ModuleKind.EXPERTS,
        a=_repeated(a, (n_experts, rank_a, n_in)),
        b=_repeated(b, (n_experts, n_out, rank_b)),
        scale=expected.scale,
    )


def _repeated(half: FileTensor, shape: tuple[int, ...]) -> StoredTensor:
    return derived(half.stored(), shape, lambda values: np.broadcast_to(values, shape))


def _candidates(config: PeftConfig, module: str) -> tuple[str, ...]:
    """Return the names of the parameters of this module that the configuration targets."""
    names = []
    for target in sorted(set(config.target_parameters)):
        owner, _, name = target.rpartition(".")
        if not owner or f".{module}".endswith(f".{owner}"):
            names.append(name)
    return tuple(names) or (DOWN, GATE_UP)


def _told_apart(
    wrappers: Sequence[Wrapper], candidates: tuple[str, ...]
) -> tuple[tuple[str, ...], bool]:
    """Return the parameter of each wrapper, '' if ambiguous, and whether all are swapped.

    The input size of the down projection is half the output size of the fused gate and up.
    """
    if len(wrappers) == 1 and len(candidates) == 1:
        return candidates, False
    unsure = ("",) * len(wrappers)
    if len(wrappers) != 2 or set(candidates) != {GATE_UP, DOWN}:
        return unsure, False
    for is_swapped in (False, True):
        for names in ((DOWN, GATE_UP), (GATE_UP, DOWN)):
            sizes = {
                name: (wrapper.a.shape[1], wrapper.b.shape[0])[:: -1 if is_swapped else 1]
                for name, wrapper in zip(names, wrappers, strict=True)
            }
            (n_in, n_out), (n_down_in, n_down_out) = sizes[GATE_UP], sizes[DOWN]
            if n_in == n_down_out and n_out == 2 * n_down_in:
                return names, is_swapped
    return unsure, False


def _scale(
    config: PeftConfig, module: str, wrapper: Wrapper, names: tuple[str, ...]
) -> ModuleScale:
    """Return rank and scale; raise `AdapterError` if they depend on an unknown parameter."""
    path = causal_path(module)
    n_rows = wrapper.a.shape[0]
    found = {config.scale_of((f"{module}.{name}", f"{path}.{name}")) for name in names}
    possible = {scale for scale in found if n_rows % scale.rank == 0}
    if not possible:
        config.refuse(
            f"has {n_rows} rows at {shown(module)}, which its rank does not divide into experts",
            "get the configuration that was saved with these weights",
        )
    if len(possible) > 1:
        config.refuse(
            f"gives the parameters of {shown(module)} different ranks or alphas, and its weights "
            "do not say which factors are whose",
            MERGE,
        )
    return possible.pop()


def _module(
    module: str,
    wrapper: Wrapper,
    expected: ModuleScale,
    parameter: str,
    candidates: tuple[str, ...],
    is_swapped: bool,
) -> LoraModule:
    rank, (n_rows, n_in), n_out = expected.rank, wrapper.a.shape, wrapper.b.shape[0]
    n_experts = n_rows // rank
    path = causal_path(module)
    if parameter == "weight" and n_experts == 1:
        return LoraModule(path, ModuleKind.LINEAR, wrapper.a, wrapper.b, expected.scale)
    a = derived(
        wrapper.a, (n_experts, rank, n_in), lambda rows: rows.reshape(n_experts, rank, n_in)
    )
    b = derived(
        wrapper.b,
        (n_experts, n_out, rank),
        lambda rows: rows.reshape(n_out, rank, n_experts).transpose(2, 0, 1),
    )
    if is_swapped:
        a, b = (
            derived(b, (n_experts, rank, n_out), lambda values: values.transpose(0, 2, 1)),
            derived(a, (n_experts, n_in, rank), lambda values: values.transpose(0, 2, 1)),
        )
    return LoraModule(
        path=f"{path}.{parameter}" if parameter else path,
        kind=ModuleKind.EXPERTS,
        a=a,
        b=b,
        scale=expected.scale,
        parameters=() if parameter else candidates,
    )
