"""Check the rules that an adapter must satisfy on any base model.

Source: `llama_adapter_lora_init_impl` in llama-adapter.cpp, and the faults that it does not check
but crashes on: a metadata value of the wrong type aborts the process, a tensor of integers jumps
to a null pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.adapters.checking.rules import Broken, Rule, some
from engine.adapters.pairs import ALPHA, IGNORED_SUFFIX, INVOCATION, LORA_A, LORA_B, pairs_of
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import GgufArray, ValueType
from engine.gguf.model_header import shard_count
from modelfiles.wording import shown


def own_rules_broken(adapter: GgufHeader) -> tuple[Broken, ...]:
    """Return every rule broken by the header of `adapter` alone, without reading tensor data.

    For a file that is not a LoRA adapter, returns only that rule.
    """
    kind = tuple(_is_adapter(adapter)) or tuple(_is_lora(adapter))
    if kind:
        return kind
    return tuple(broken for rule in _RULES for broken in rule(adapter))


def _is_adapter(adapter: GgufHeader) -> Iterator[Broken]:
    if adapter.is_adapter:
        return
    kind = adapter.text("general.type") or "model"
    looks_like_model = "general.architecture" in adapter.metadata
    advice = "name an adapter, and use this file as the base" if kind == "model" else "name a LoRA"
    what = f"a {kind}" if kind.isalpha() and looks_like_model else "no adapter"
    yield Broken(Rule.NOT_ADAPTER, f"{adapter.path} is {what}, not a LoRA adapter: {advice}.")


def _is_lora(adapter: GgufHeader) -> Iterator[Broken]:
    kind = adapter.metadata.get("adapter.type")
    if kind == "lora":
        return
    said = "says nothing of its kind" if kind is None else f"is of the kind {shown(str(kind))}"
    yield Broken(
        Rule.NOT_LORA,
        f"The adapter {adapter.path} {said}, only 'lora' can be used: convert it as a LoRA.",
    )


def _is_one_file(adapter: GgufHeader) -> Iterator[Broken]:
    count = shard_count(adapter)
    if count > 1:
        yield Broken(
            Rule.SPLIT,
            f"The adapter {adapter.path} is split over {count} files: merge them into one.",
        )


def _has_float_alpha(adapter: GgufHeader) -> Iterator[Broken]:
    type_ = adapter.types.get(ALPHA, ValueType.FLOAT32)
    if type_ is not ValueType.FLOAT32:
        yield Broken(
            Rule.ALPHA_TYPE,
            f"The adapter {adapter.path} stores alpha as {type_.name.lower()} where a float32 is "
            "due: convert it again.",
        )


def _has_token_invocation(adapter: GgufHeader) -> Iterator[Broken]:
    value = adapter.metadata.get(INVOCATION)
    if value is None:
        return
    if not (isinstance(value, GgufArray) and value.element_type is ValueType.UINT32):
        yield Broken(
            Rule.INVOCATION_TYPE,
            f"The adapter {adapter.path} stores its invocation tokens as something other than a "
            "list of token numbers: convert it again.",
        )


def _has_pairs_only(adapter: GgufHeader) -> Iterator[Broken]:
    strangers = [n for n in adapter.tensors if not n.endswith((LORA_A, LORA_B, IGNORED_SUFFIX))]
    if strangers:
        yield Broken(
            Rule.SUFFIX,
            f"The adapter {adapter.path} has {some(strangers)} that is no half of a LoRA pair: "
            "convert it again, without fully trained layers.",
        )


def _is_not_empty(adapter: GgufHeader) -> Iterator[Broken]:
    if not any(name.endswith((LORA_A, LORA_B)) for name in adapter.tensors):
        yield Broken(
            Rule.EMPTY, f"The adapter {adapter.path} changes no tensor at all: convert it again."
        )


def _has_both_halves(adapter: GgufHeader) -> Iterator[Broken]:
    other = {LORA_A: LORA_B, LORA_B: LORA_A}
    lone = [
        name
        for name in adapter.tensors
        if (suffix := name[-len(LORA_A) :]) in other
        and name.removesuffix(suffix) + other[suffix] not in adapter.tensors
    ]
    if lone:
        yield Broken(
            Rule.MISSING_HALF,
            f"The adapter {adapter.path} has {some(lone)} without the other half of the pair: "
            "convert it again.",
        )


def _has_weights(adapter: GgufHeader) -> Iterator[Broken]:
    wrong = [
        half
        for pair in pairs_of(adapter)
        for half in (pair.a, pair.b)
        if not half.type.is_usable_in_adapter
    ]
    if wrong:
        yield Broken(
            Rule.DTYPE,
            f"The adapter {adapter.path} stores {some([half.name for half in wrong])} as "
            f"{wrong[0].type.name}, which holds no weights: convert it to f32, f16 or q8_0.",
        )


def _has_rank(adapter: GgufHeader) -> Iterator[Broken]:
    empty = [pair.target for pair in pairs_of(adapter) if 0 in (*pair.a.shape, *pair.b.shape)]
    if empty:
        yield Broken(
            Rule.RANK_ZERO,
            f"The adapter {adapter.path} has rank 0 for {some(empty)}: train or convert it again.",
        )


def _has_equal_ranks(adapter: GgufHeader) -> Iterator[Broken]:
    unequal = [pair for pair in pairs_of(adapter) if pair.rank_a != pair.rank_b]
    if unequal:
        first = unequal[0]
        yield Broken(
            Rule.RANK_MISMATCH,
            f"The adapter {adapter.path} has halves of different rank ({first.rank_a} and "
            f"{first.rank_b}) for {some([pair.target for pair in unequal])}: convert it again.",
        )


_RULES: tuple[Callable[[GgufHeader], Iterator[Broken]], ...] = (
    _is_one_file,
    _has_float_alpha,
    _has_token_invocation,
    _is_not_empty,
    _has_pairs_only,
    _has_both_halves,
    _has_weights,
    _has_rank,
    _has_equal_ranks,
)
