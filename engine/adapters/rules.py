"""The vocabulary of the check: rules, what is broken, and an adapter's tensors in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.adapters.header import GgufHeader
from engine.adapters.tensors import TensorInfo
from modelfiles.wording import shown

LORA_A, LORA_B = ".lora_a", ".lora_b"
IGNORED_SUFFIX = "_norm.weight"
TOKEN_EMBEDDING = "token_embd.weight"
OUTPUT = "output.weight"
ALPHA = "adapter.lora.alpha"
INVOCATION = "adapter.alora.invocation_tokens"


class Rule(StrEnum):
    """What an adapter must fulfil to be used with a base."""

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
    """A rule that an adapter breaks, with a sentence that says where and what to do."""

    rule: Rule
    message: str


@dataclass(frozen=True, slots=True)
class Pair:
    """The two halves of the delta for one base tensor."""

    target: str
    """Name of the base tensor."""
    a: TensorInfo
    b: TensorInfo

    @property
    def is_flipped(self) -> bool:
        """Whether A is stored transposed, to be looked up by token."""
        return self.target.endswith(TOKEN_EMBEDDING)

    @property
    def rank_a(self) -> int:
        """The rank by the first half: A maps to that many numbers."""
        return self.a.ne[0] if self.is_flipped else self.a.ne[1]

    @property
    def rank_b(self) -> int:
        """The rank by the second half, the one by which llama.cpp divides alpha."""
        return self.b.ne[0]


def pairs_of(adapter: GgufHeader) -> tuple[Pair, ...]:
    """Return the complete pairs in the order of the file; lone halves are left out."""
    pairs = []
    for name, a in adapter.tensors.items():
        target = name.removesuffix(LORA_A)
        b = adapter.tensors.get(target + LORA_B)
        if name.endswith(LORA_A) and b is not None:
            pairs.append(Pair(target, a, b))
    return tuple(pairs)


def some(names: Sequence[str], thing: str = "tensor") -> str:
    """Return `tensor 'x'` or `3 tensors, the first 'x'`."""
    if len(names) == 1:
        return f"{thing} {shown(names[0])}"
    return f"{len(names)} {thing}s, the first {shown(names[0])}"


def dimensions(tensor: TensorInfo) -> str:
    """Return a tensor's shape in ggml's order, `64 x 4`."""
    return " x ".join(str(length) for length in tensor.shape) or "1"
