"""Check the rules that an adapter must satisfy on any base model.

Source: `llama_adapter_lora_init_impl` in llama-adapter.cpp, and the faults that it does not check
but crashes on: a metadata value of the wrong type aborts the process, a tensor of integers jumps
to a null pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.adapters.checking.rules import Broken, Rule, broken_by, some
from engine.adapters.pairs import ALPHA, IGNORED_SUFFIX, INVOCATION, LORA_A, LORA_B, pairs_of
from engine.gguf.header import GgufHeader
from engine.gguf.kinds import odd_kind
from engine.gguf.metadata import GgufArray, ValueType
from engine.gguf.model_header import shard_count
from modelfiles.wording import shown


def own_rules_broken(adapter: GgufHeader) -> tuple[Broken, ...]:
    """Return every rule broken by the header of `adapter` alone, without reading tensor data.

    For a file that is not a LoRA adapter, returns only that rule.
    """
    odd = odd_kind(adapter)
    if odd is not None:
        fault = f"is {odd.what}, not a LoRA adapter: {odd.in_place_of_adapter}"
        return broken_by(adapter, [(Rule.NOT_ADAPTER, fault)])
    if not adapter.is_adapter:
        return broken_by(adapter, [(Rule.NOT_ADAPTER, _other_kind(adapter))])
    kind = adapter.metadata.get("adapter.type")
    if kind != "lora":
        said = "names no adapter.type" if kind is None else f"has the type {shown(str(kind))}"
        fault = f"{said}, and only 'lora' can be used: convert it as a LoRA"
        return broken_by(adapter, [(Rule.NOT_LORA, fault)])
    return broken_by(adapter, ((rule, fault_of(adapter)) for rule, fault_of in _FAULTS.items()))


def _other_kind(file: GgufHeader) -> str:
    kind = file.text("general.type") or "model"
    looks_like_model = "general.architecture" in file.metadata
    advice = "name an adapter, and use this file as the base" if kind == "model" else "name a LoRA"
    what = f"is a {kind}, not" if kind.isalpha() and looks_like_model else "is not"
    return f"{what} a LoRA adapter: {advice}"


def _shards(adapter: GgufHeader) -> str:
    count = shard_count(adapter)
    advice = "merge them into one with llama-gguf-split --merge"
    return f"is one of {count} parts of a split adapter: {advice}" if count > 1 else ""


def _alpha_type(adapter: GgufHeader) -> str:
    type_ = adapter.types.get(ALPHA, ValueType.FLOAT32)
    if type_ is ValueType.FLOAT32:
        return ""
    return f"stores alpha as {type_.name.lower()} instead of float32: convert it again"


def _invocation_type(adapter: GgufHeader) -> str:
    value = adapter.metadata.get(INVOCATION)
    is_list = isinstance(value, GgufArray) and value.element_type is ValueType.UINT32
    if value is None or is_list:
        return ""
    return "does not store its invocation tokens as a list of token numbers: convert it again"


def _nothing_changed(adapter: GgufHeader) -> str:
    is_empty = not any(name.endswith((LORA_A, LORA_B)) for name in adapter.tensors)
    return "changes no tensor: convert it again" if is_empty else ""


def _strangers(adapter: GgufHeader) -> str:
    strangers = [n for n in adapter.tensors if not n.endswith((LORA_A, LORA_B, IGNORED_SUFFIX))]
    if not strangers:
        return ""
    return (
        f"has {some(strangers)} outside any LoRA pair: convert it again, without fully trained "
        "layers"
    )


def _lone_halves(adapter: GgufHeader) -> str:
    other = {LORA_A: LORA_B, LORA_B: LORA_A}
    lone = [
        name
        for name in adapter.tensors
        if (suffix := name[-len(LORA_A) :]) in other
        and name.removesuffix(suffix) + other[suffix] not in adapter.tensors
    ]
    return f"has {some(lone)} without the other half of the pair: convert it again" if lone else ""


def _no_weights(adapter: GgufHeader) -> str:
    halves = [half for pair in pairs_of(adapter) for half in (pair.a, pair.b)]
    wrong = [half for half in halves if not half.type.is_usable_in_adapter]
    if not wrong:
        return ""
    return (
        f"stores {some([half.name for half in wrong])} as {wrong[0].type.name}, a type without "
        "weights: convert it to f32, f16 or q8_0"
    )


def _rank_zero(adapter: GgufHeader) -> str:
    empty = [pair.target for pair in pairs_of(adapter) if 0 in (*pair.a.shape, *pair.b.shape)]
    return f"has rank 0 for {some(empty)}: train or convert it again" if empty else ""


def _unequal_ranks(adapter: GgufHeader) -> str:
    unequal = [pair for pair in pairs_of(adapter) if pair.rank_a != pair.rank_b]
    if not unequal:
        return ""
    return (
        f"has halves of different rank ({unequal[0].rank_a} and {unequal[0].rank_b}) for "
        f"{some([pair.target for pair in unequal])}: convert it again"
    )


_FAULTS: Mapping[Rule, Callable[[GgufHeader], str]] = {
    Rule.SPLIT: _shards,
    Rule.ALPHA_TYPE: _alpha_type,
    Rule.INVOCATION_TYPE: _invocation_type,
    Rule.EMPTY: _nothing_changed,
    Rule.SUFFIX: _strangers,
    Rule.MISSING_HALF: _lone_halves,
    Rule.DTYPE: _no_weights,
    Rule.RANK_ZERO: _rank_zero,
    Rule.RANK_MISMATCH: _unequal_ranks,
}
"""What is wrong with an adapter by each rule; an empty text if nothing is."""
