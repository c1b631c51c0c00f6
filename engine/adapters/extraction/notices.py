"""Notices about the difference of two models: its origin, rounding, vocabulary and settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from engine.adapters.checking.rules import some
from engine.adapters.fusing.energy import ModuleEnergy
from engine.adapters.merging.metadata import merged_of
from engine.adapters.merging.model_hash import model_sha256s
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import GgufArray, ValueType
from engine.stack import label_of

_TOKENS: Final = "tokenizer.ggml.tokens"


def notices(
    base: GgufHeader, tuned: GgufHeader, modules: Sequence[ModuleEnergy]
) -> tuple[str, ...]:
    """Return warnings about the difference in `modules`: its origin, rounding and other settings.

    Reads the whole base again, for its hash, if the tuned model names the base it was merged from.
    Raises `GgufError` if a file changed since its header was read.
    """
    sentences = []
    merged = merged_of(tuned)
    is_merged_into_base = False
    if merged is not None:
        is_merged_into_base = model_sha256s(base, lambda *_: None) == merged.base_sha256s
        stack = label_of(zip(merged.names, merged.scales, strict=True))
        origin = "this very base" if is_merged_into_base else merged.base_name
        sentences.append(f"The tuned model was made by merging {stack} into {origin}.")
    targets = [module.target for module in modules]
    sentences.extend(_on_rounding(base, tuned, targets, is_merged_into_base))
    if not _has_same_tokens(base, tuned):
        sentences.append(
            "The vocabularies differ: with the adapter, the base keeps its own tokens, and "
            "embeddings of another size are left out."
        )
    keys = _other_settings(base, tuned)
    if keys:
        sentences.append(
            f"The models also differ in {some(keys, 'setting')}, which an adapter cannot change."
        )
    return tuple(sentences)


def _on_rounding(
    base: GgufHeader, tuned: GgufHeader, targets: Sequence[str], is_merged_into_base: bool
) -> Iterator[str]:
    """Yield a warning if the rounding of a quantised model is part of the difference.

    If both are quantised, the warning names only the tuned one. The base's rounding cancels out
    if the tuned model was merged into this base.
    """
    if any(tuned.tensors[target].type.block_length > 1 for target in targets):
        yield (
            "The tuned model is quantised where the models differ: its rounding is part of the "
            "difference, and no low rank can keep it."
        )
    elif not is_merged_into_base and any(
        base.tensors[target].type.block_length > 1 for target in targets
    ):
        yield (
            "The base is quantised where the models differ: unless the tuned model was made from "
            "this very file, the rounding is part of the difference, and no low rank can keep it."
        )


def _has_same_tokens(base: GgufHeader, tuned: GgufHeader) -> bool:
    """Return whether the vocabularies are equal in tokens and order; True if one is missing.

    Raises `GgufError` if a file changed since its header was read.
    """
    ours, theirs = (header.array(_TOKENS, ValueType.STRING) for header in (base, tuned))
    return ours is None or theirs is None or ours == theirs


def _other_settings(base: GgufHeader, tuned: GgufHeader) -> tuple[str, ...]:
    """Return the architecture keys, such as `llama.rope.freq_base`, that the models differ in.

    Leaves out vocabulary size and context length, which do not change the computation.
    """
    prefix = f"{base.architecture}."
    keys = {key for header in (base, tuned) for key in header.metadata if key.startswith(prefix)}
    silent = {f"{prefix}vocab_size", f"{prefix}context_length"}
    return tuple(
        key
        for key in sorted(keys - silent)
        if not isinstance(base.metadata.get(key), GgufArray)
        and not isinstance(tuned.metadata.get(key), GgufArray)
        and base.metadata.get(key) != tuned.metadata.get(key)
    )
