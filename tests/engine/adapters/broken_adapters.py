"""Adapters that each break one rule, made from a sound one for a base of a given kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.adapters.checking.rules import Rule
from engine.gguf.metadata import ValueType
from tests.support.gguf_raw import RawGguf, RawTensor, RawValue, tensor_of, text
from tests.support.tiny_models import Architecture, Dtype, write_adapter, write_base

Q = "blk.0.attn_q.weight"
GATE = "blk.0.ffn_gate_exps.weight"
EMBEDDING = "token_embd.weight"
NAN, INFINITY = float("nan"), float("inf")
Change = Callable[[RawGguf], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A change that breaks rules of an otherwise sound adapter."""

    change: Change
    rules: set[Rule]
    architecture: Architecture = "llama"
    is_tied: bool = False
    targets: tuple[str, ...] | None = None
    dtype: Dtype = "f32"

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write the base and the broken adapter and return their paths."""
        base = write_base(
            folder / "base.gguf", architecture=self.architecture, is_tied=self.is_tied
        )
        path = folder / "broken.gguf"
        raw = RawGguf.read(write_adapter(path, base, targets=self.targets, dtype=self.dtype))
        self.change(raw)
        return base, raw.write(path)


def zeros(*shape: int, dtype: str = "float32") -> RawTensor:
    """Return a tensor of zeros; `shape` is numpy's, the row length last."""
    return tensor_of(np.zeros(shape, dtype=dtype))


def says(key: str, value: RawValue | None) -> Change:
    """Return a change that sets or removes a metadata key."""

    def change(raw: RawGguf) -> None:
        raw.metadata.pop(key, None)
        if value is not None:
            raw.metadata[key] = value

    return change


def has_pair(target: str, a: RawTensor, b: RawTensor) -> Change:
    """Return a change that puts a pair in the place of another, or adds it."""

    def change(raw: RawGguf) -> None:
        raw.tensors[f"{target}.lora_a"] = a
        raw.tensors[f"{target}.lora_b"] = b

    return change


def has(name: str, tensor: RawTensor) -> Change:
    """Return a change that adds a tensor."""

    def change(raw: RawGguf) -> None:
        raw.tensors[name] = tensor

    return change


def lacks(*names: str) -> Change:
    """Return a change that takes tensors out; all of them without names."""

    def change(raw: RawGguf) -> None:
        for name in names or tuple(raw.tensors):
            del raw.tensors[name]

    return change


def holds(name: str, offset: int, value: bytes) -> Change:
    """Return a change that overwrites some bytes of a tensor's data."""

    def change(raw: RawGguf) -> None:
        old = raw.tensors[name]
        data = old.data[:offset] + value + old.data[offset + len(value) :]
        raw.tensors[name] = RawTensor(old.shape, old.type, data)

    return change


def nothing(_: RawGguf) -> None:
    """Change nothing: the adapter breaks a rule as it is."""


def f32(value: float) -> bytes:
    return np.float32(value).tobytes()


ALPHA, KIND = "adapter.lora.alpha", "adapter.type"
INVOCATION = "adapter.alora.invocation_tokens"
EXPERTS = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
U16, U32, FLOAT64 = ValueType.UINT16, ValueType.UINT32, ValueType.FLOAT64
ARRAY, STRING = ValueType.ARRAY, ValueType.STRING

CASES: dict[str, Case] = {
    "a model": Case(says("general.type", text("model")), {Rule.NOT_ADAPTER}),
    "no type": Case(says("general.type", None), {Rule.NOT_ADAPTER}),
    "a type that is no text": Case(says("general.type", RawValue(U32, 1)), {Rule.NOT_ADAPTER}),
    "a control vector": Case(says("general.type", text("controlvector")), {Rule.NOT_ADAPTER}),
    "another kind of adapter": Case(says(KIND, text("ia3")), {Rule.NOT_LORA}),
    "no kind": Case(says(KIND, None), {Rule.NOT_LORA}),
    "a kind that is no text": Case(says(KIND, RawValue(U32, 7)), {Rule.NOT_LORA}),
    "split over files": Case(says("split.count", RawValue(U16, 2)), {Rule.SPLIT}),
    "alpha as text": Case(says(ALPHA, text("8")), {Rule.ALPHA_TYPE}),
    "alpha as an integer": Case(says(ALPHA, RawValue(U32, 8)), {Rule.ALPHA_TYPE}),
    "alpha as a double": Case(says(ALPHA, RawValue(FLOAT64, 8.0)), {Rule.ALPHA_TYPE}),
    "one invocation token": Case(says(INVOCATION, RawValue(U32, 1)), {Rule.INVOCATION_TYPE}),
    "invocation as texts": Case(
        says(INVOCATION, RawValue(ARRAY, ["a"], STRING)), {Rule.INVOCATION_TYPE}
    ),
    "no tensors": Case(lacks(), {Rule.EMPTY}),
    "an unexpected tensor": Case(has("blk.0.attn_q.bias", zeros(64)), {Rule.SUFFIX}),
    "a DoRA magnitude": Case(has(f"{Q}.lora_magnitude", zeros(64)), {Rule.SUFFIX}),
    "no half B": Case(lacks(f"{Q}.lora_b"), {Rule.MISSING_HALF}),
    "no half A": Case(lacks(f"{Q}.lora_a"), {Rule.MISSING_HALF}),
    "integers": Case(
        has_pair(Q, zeros(4, 64, dtype="int32"), zeros(64, 4, dtype="int32")), {Rule.DTYPE}
    ),
    "doubles": Case(has(f"{Q}.lora_a", RawTensor((64, 4), 28, bytes(64 * 4 * 8))), {Rule.DTYPE}),
    "rank 0": Case(has_pair(Q, zeros(0, 64), zeros(64, 0)), {Rule.RANK_ZERO}),
    "halves of different rank": Case(has_pair(Q, zeros(4, 64), zeros(64, 8)), {Rule.RANK_MISMATCH}),
    "embedding halves of different rank": Case(
        has_pair(EMBEDDING, zeros(267, 4), zeros(64, 8)), {Rule.RANK_MISMATCH}
    ),
    "another architecture": Case(says("general.architecture", text("qwen2")), {Rule.ARCHITECTURE}),
    "no architecture": Case(says("general.architecture", None), {Rule.ARCHITECTURE}),
    "architecture that is no text": Case(
        says("general.architecture", RawValue(U32, 1)), {Rule.ARCHITECTURE}
    ),
    "a layer too many": Case(
        has_pair("blk.2.attn_q.weight", zeros(4, 64), zeros(64, 4)), {Rule.ABSENT}
    ),
    "a tensor of another base": Case(
        has_pair("blk.0.attn_qkv.weight", zeros(4, 64), zeros(128, 4)), {Rule.ABSENT}
    ),
    "a half of a half": Case(has_pair(f"{Q}.lora_a", zeros(4, 64), zeros(64, 4)), {Rule.ABSENT}),
    "an output of its own on a tied base": Case(
        has_pair("output.weight", zeros(4, 64), zeros(267, 4)), {Rule.ABSENT}, is_tied=True
    ),
    "rows of another length": Case(has_pair(Q, zeros(4, 32), zeros(64, 4)), {Rule.DIMENSION}),
    "another number of rows": Case(has_pair(Q, zeros(4, 64), zeros(128, 4)), {Rule.DIMENSION}),
    "A and B transposed": Case(has_pair(Q, zeros(64, 4), zeros(4, 64)), {Rule.DIMENSION}),
    "a larger vocabulary": Case(has_pair(EMBEDDING, zeros(300, 4), zeros(64, 4)), {Rule.DIMENSION}),
    "embedding that is not flipped": Case(
        has_pair(EMBEDDING, zeros(4, 64), zeros(267, 4)), {Rule.DIMENSION, Rule.RANK_MISMATCH}
    ),
    "too few experts": Case(
        has_pair(GATE, zeros(2, 4, 64), zeros(2, 128, 4)), {Rule.EXPERTS}, "mixtral"
    ),
    "too few experts in one half": Case(
        has_pair(GATE, zeros(4, 4, 64), zeros(2, 128, 4)), {Rule.EXPERTS}, "mixtral"
    ),
    "two dimensions on experts": Case(
        has_pair(GATE, zeros(4, 64), zeros(128, 4)), {Rule.EXPERTS}, "mixtral"
    ),
    "a fourth dimension on experts": Case(
        has_pair(GATE, zeros(2, 4, 4, 64), zeros(2, 4, 128, 4)), {Rule.EXPERTS}, "mixtral"
    ),
    "three dimensions on a matrix": Case(
        has_pair(Q, zeros(2, 4, 64), zeros(2, 64, 4)), {Rule.NOT_MATRIX}
    ),
    "three dimensions on an embedding": Case(
        has_pair(EMBEDDING, zeros(2, 267, 4), zeros(2, 64, 4)), {Rule.NOT_MATRIX}
    ),
    "embeddings of a tied base": Case(
        nothing, {Rule.TIED_OUTPUT}, is_tied=True, targets=("attn_q", "token_embd")
    ),
    "embeddings of a gemma base": Case(
        nothing, {Rule.TIED_OUTPUT}, "gemma", targets=("attn_q", "token_embd")
    ),
    "NaN in f32": Case(holds(f"{Q}.lora_a", 1020, f32(NAN)), {Rule.NOT_FINITE}),
    "infinity in f32": Case(holds(f"{Q}.lora_b", 0, f32(-INFINITY)), {Rule.NOT_FINITE}),
    "NaN in f16": Case(
        holds(f"{Q}.lora_a", 6, np.float16(NAN).tobytes()), {Rule.NOT_FINITE}, dtype="f16"
    ),
    "infinity in bf16": Case(holds(f"{Q}.lora_b", 4, b"\x80\x7f"), {Rule.NOT_FINITE}, dtype="bf16"),
    "infinite scale in q8_0": Case(
        holds(f"{Q}.lora_a", 34, np.float16(INFINITY).tobytes()), {Rule.NOT_FINITE}, dtype="q8_0"
    ),
    "alpha is NaN": Case(says(ALPHA, RawValue(ValueType.FLOAT32, NAN)), {Rule.NOT_FINITE}),
}
