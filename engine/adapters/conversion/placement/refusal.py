"""Word the error for an adapter that does not fit a base, in one sentence for all its modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.adapters.checking.tied_output import can_untie
from engine.adapters.conversion.placement.base_model import BaseModel
from engine.adapters.conversion.placement.layout import Misfit, PlaceError
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.errors import AdapterError
from modelfiles.wording import shown

Problem = tuple[LoraModule, PlaceError]
_VOCABULARY: Final = ("token_embd.weight", "output.weight")


def refusal(source: LoraSource, base: BaseModel, problems: Sequence[Problem]) -> AdapterError:
    """Return the error for the first problem, with the number of further ones of its kind."""
    module, problem = problems[0]
    n_others = sum(other.misfit is problem.misfit for _, other in problems) - 1
    others = f" and {n_others} more module{'s' * (n_others > 1)}" if n_others else ""
    name = f"{shown(module.path)}{others}"
    target = shown(problem.target)
    match problem.misfit:
        case Misfit.UNKNOWN:
            end = f", which is unknown in {base.name} models: train it without such modules."
        case Misfit.BEYOND:
            end = f", but the base has only {problem.target} layers: use the base it was made for."
        case Misfit.EXPERT:
            end = (
                f", but {target} of the base has only {problem.needs} experts: use the base it was "
                "made for."
            )
        case Misfit.TIED:
            advice = "train it without that"
            if can_untie(base.name):
                advice = f"merge it with 'tui merge', which parts the two, or {advice}"
            end = (
                ", but the base uses one matrix as embedding and as output, and llama.cpp cannot "
                f"adapt one of the two: {advice}."
            )
        case Misfit.AMBIGUOUS:
            end = (
                ", experts whose shapes fit gate_up_proj and down_proj alike: keep its "
                "adapter_config.json beside it."
            )
        case Misfit.RANKS:
            a, b = module.a, module.b
            end = (
                f" with halves of different ranks, {shown(a.name)} of {_dimensions(a.shape)} and "
                f"{shown(b.name)} of {_dimensions(b.shape)}: save or download it again."
            )
        case Misfit.HEADS:
            end = (
                f", but the base's {target} does not divide into its number of heads: take another "
                "GGUF of the same model."
            )
        case Misfit.FORM:
            end = (
                f", but the base's {target} has another form than in {base.name} models: take "
                "another GGUF of the same model."
            )
        case Misfit.ORDER:
            end = (
                f", a name whose order of rows is not known for {base.name} models: save it with "
                "PEFT, under the names of transformers."
            )
        case Misfit.SIZE:
            end = _wrong_size(module, problem)
        case Misfit.ABSENT:
            end = f", but the base has no tensor {target}: use the base it was made for."
    return AdapterError(f"adapts {name}{end}", source.path)


def double(source: LoraSource, target: str, first: LoraModule, second: LoraModule) -> AdapterError:
    """Return the error for two modules that map to the same rows of one tensor."""
    return AdapterError(
        f"adapts {shown(first.path)} and {shown(second.path)}, which are "
        f"the same rows of {shown(target)}: leave one of them out.",
        source.path,
    )


def _wrong_size(module: LoraModule, problem: PlaceError) -> str:
    own = _size(module)
    n_own, _, n_embd = own.rpartition(" x ")
    n_vocab, _, n_embd_base = problem.needs.rpartition(" x ")
    if problem.target in _VOCABULARY and n_embd == n_embd_base:
        return (
            f" for a vocabulary of {n_own} tokens, but the base has {n_vocab}: take the base with "
            "the tokens that were added for the training."
        )
    return (
        f" as a matrix of {own}, but the base's {shown(problem.target)} needs {problem.needs}: use "
        "the base it was made for."
    )


def _size(module: LoraModule) -> str:
    a, b = module.a.shape, module.b.shape
    if module.kind is ModuleKind.EMBEDDING:
        return f"{a[-1]} x {b[0]}"
    lead = f"{a[0]} experts of " if module.kind is ModuleKind.EXPERTS else ""
    return f"{lead}{b[-2]} x {a[-1]}"


def _dimensions(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)
