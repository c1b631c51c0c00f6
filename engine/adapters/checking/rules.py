"""Define the rules for adapters, broken rules, and the pairing of an adapter's tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo
from modelfiles.wording import shown


class Rule(StrEnum):
    """A condition that an adapter must satisfy to be used with a base model."""

    NOT_ADAPTER = "the file is an adapter"
    NOT_LORA = "the adapter is a LoRA"
    SPLIT = "the adapter is one file"
    ALPHA_TYPE = "alpha is a 32-bit float"
    INVOCATION_TYPE = "invocation tokens are a list of token numbers"
    SUFFIX = "every tensor is half of a LoRA pair"
    EMPTY = "the adapter has tensors"
    MISSING_HALF = "every pair has both halves"
    DTYPE = "tensors hold weights"
    RANK_ZERO = "the rank is at least 1"
    RANK_MISMATCH = "both halves of a pair have one rank"
    ARCHITECTURE = "adapter and base have one architecture"
    ABSENT = "every adapted tensor is in the base"
    DIMENSION = "the pair's dimensions are the base tensor's"
    EXPERTS = "the pair has the base tensor's number of experts"
    NOT_MATRIX = "the pair of a matrix is two matrices"
    TIED_OUTPUT = "embeddings are adapted only where the output has weights of its own"
    NOT_FINITE = "all numbers are finite"


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken rule."""

    rule: Rule
    reason: str
    """Where the adapter breaks it and how to fix that; a sentence that begins with the adapter."""
    adapter: Path


def broken_by(adapter: GgufHeader, faults: Iterable[tuple[Rule, str]]) -> tuple[Broken, ...]:
    """Return the rules with a fault; skip empty faults."""
    return tuple(Broken(rule, f"{fault}.", adapter.path) for rule, fault in faults if fault)


def require_kept(broken: Sequence[Broken]) -> None:
    """Raise `AdapterError` with the first broken rule and the number of others, if any."""
    if broken:
        n_others = len(broken) - 1
        more = f" ({n_others} more of its rules are broken.)" if n_others else ""
        raise AdapterError(broken[0].reason + more, broken[0].adapter)


def some(names: Sequence[str], thing: str = "tensor") -> str:
    """Return names for a message: `tensor 'x'` or `3 tensors, the first 'x'`."""
    if len(names) == 1:
        return f"{thing} {shown(names[0])}"
    return f"{len(names)} {thing}s, the first {shown(names[0])}"


def dimensions(tensor: TensorInfo) -> str:
    """Return a tensor's shape in ggml's order, `64 x 4`."""
    return " x ".join(str(length) for length in tensor.shape) or "1"
