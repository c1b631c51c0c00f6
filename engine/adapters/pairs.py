"""An adapter's tensors as pairs of LoRA factors, and the names that llama.cpp gives them."""

from __future__ import annotations

from dataclasses import dataclass

from engine.gguf.header import GgufHeader
from engine.gguf.metadata import ValueType
from engine.gguf.tensors import TensorInfo

LORA_A, LORA_B = ".lora_a", ".lora_b"
IGNORED_SUFFIX = "_norm.weight"
TOKEN_EMBEDDING = "token_embd.weight"
OUTPUT = "output.weight"
ALPHA = "adapter.lora.alpha"
INVOCATION = "adapter.alora.invocation_tokens"


@dataclass(frozen=True, slots=True)
class Pair:
    """The two halves of the delta for one base tensor."""

    target: str
    """Name of the base tensor."""
    a: TensorInfo
    b: TensorInfo

    @property
    def is_flipped(self) -> bool:
        """Whether A is stored transposed, for lookup by token."""
        return self.target.endswith(TOKEN_EMBEDDING)

    @property
    def rank_a(self) -> int:
        """The rank according to A: the number of values that A maps an input to."""
        return self.a.ne[0] if self.is_flipped else self.a.ne[1]

    @property
    def rank_b(self) -> int:
        """The rank according to B, by which llama.cpp divides alpha."""
        return self.b.ne[0]


def invocation_tokens(adapter: GgufHeader) -> tuple[int, ...]:
    """Return the tokens from which on an activated adapter acts; none if it is always on.

    Raises `GgufError` if the file changed since its header was read.
    """
    return adapter.array(INVOCATION, ValueType.UINT32) or ()


def pairs_of(adapter: GgufHeader) -> tuple[Pair, ...]:
    """Return the complete pairs in file order, without lone halves."""
    pairs = []
    for name, a in adapter.tensors.items():
        target = name.removesuffix(LORA_A)
        b = adapter.tensors.get(target + LORA_B)
        if name.endswith(LORA_A) and b is not None:
            pairs.append(Pair(target, a, b))
    return tuple(pairs)
