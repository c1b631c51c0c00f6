"""Warnings about adapter tensors that llama.cpp loads but ignores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from engine.adapters.checking.rules import some
from engine.adapters.pairs import IGNORED_SUFFIX, invocation_tokens, pairs_of
from engine.gguf.header import GgufHeader

# Tensors that the architecture's graph multiplies without looking up a LoRA pair: llama.cpp loads
# the pair, reports success and never uses it. Source: plain `ggml_mul_mat` on a layer's weight in
# src/models of llama.cpp 0c1e57098; measured for deepseek2 and plm on every tensor.
_LATENT_ATTENTION: Final = r"attn_(q|q_a|q_b|kv_a_mqa|kv_b|k_b|v_b)"
_UNUSED: Final[dict[str, str]] = {
    "deepseek2": rf"{_LATENT_ATTENTION}|output",
    "deepseek2-ocr": rf"{_LATENT_ATTENTION}|output",
    "deepseek32": rf"{_LATENT_ATTENTION}|indexer\..*|output",
    "deepseek4": rf"{_LATENT_ATTENTION}|indexer\..*|output",
    "mistral4": rf"{_LATENT_ATTENTION}|output",
    "glm-dsa": rf"{_LATENT_ATTENTION}|indexer\..*|output",
    "glm5-next": rf"{_LATENT_ATTENTION}|indexer\..*",
    "dots3note": _LATENT_ATTENTION,
    "kimi-linear": rf"{_LATENT_ATTENTION}|output",
    "kimi-k3": rf"{_LATENT_ATTENTION}|ffn_.*",
    "minicpm3": _LATENT_ATTENTION,
    "plm": _LATENT_ATTENTION,
    "bailingmoe3": _LATENT_ATTENTION,
    "hy_v4": _LATENT_ATTENTION,
    "graniteswitch": r"attn_qkv",
    "nemotron_h": r"ffn_latent.*",
    "nemotron_h_moe": r"ffn_latent.*",
    "gemma3n": r"altup_.*|per_layer_model_proj",
    "gemma4": r"per_layer_model_proj",
    "rwkv6": r"time_mix_w[12]",
    "rwkv6qwen2": r"time_mix_w[12]",
    "rwkv7": r"time_mix_w[12]",
    "arwkv7": r"time_mix_w[12]",
}
_NEVER_MULTIPLIED: Final = re.compile(r"(position_embd|token_types|rope_freqs)\.weight")


def is_latent_attention(target: str, architecture: str) -> bool:
    """Return whether `target` is a latent-attention tensor that llama.cpp applies no LoRA to."""
    is_latent = _UNUSED.get(architecture, "").startswith(_LATENT_ATTENTION)
    name = rf"blk\.\d+\.({_LATENT_ATTENTION})\.weight"
    return is_latent and re.fullmatch(name, target) is not None


def notices(adapter: GgufHeader, base: GgufHeader) -> tuple[str, ...]:
    """Return warnings about tensors of `adapter` that llama.cpp ignores on `base`, and about aLoRA.

    An aLoRA adapter has invocation tokens and acts only from those tokens on.
    """
    return (
        *_ignored_norms(adapter),
        *_unused_targets(adapter, base),
        *_has_invocation(adapter),
    )


def unused_targets(adapter: GgufHeader, base: GgufHeader) -> tuple[str, ...]:
    """Return the base tensors whose pairs llama.cpp loads but never uses."""
    pattern = _UNUSED.get(base.architecture or "")
    in_layer = re.compile(rf"(blk\.\d+\.)?({pattern})\.weight") if pattern else None
    unused = []
    for pair in pairs_of(adapter):
        weight = base.tensors.get(pair.target)
        is_vector = weight is not None and weight.ne[1:] == (1, 1, 1)
        is_multiplied_plainly = in_layer is not None and in_layer.fullmatch(pair.target)
        if is_vector or is_multiplied_plainly or _NEVER_MULTIPLIED.fullmatch(pair.target):
            unused.append(pair.target)
    return tuple(unused)


def _ignored_norms(adapter: GgufHeader) -> Iterator[str]:
    norms = [name for name in adapter.tensors if name.endswith(IGNORED_SUFFIX)]
    if norms:
        yield f"The adapter also holds {some(norms)}: llama.cpp ignores norms."


def _unused_targets(adapter: GgufHeader, base: GgufHeader) -> Iterator[str]:
    unused = unused_targets(adapter, base)
    if not unused:
        return
    n_pairs = len(pairs_of(adapter))
    n_used = n_pairs - len(unused)
    share = f"Only {n_used} of the adapter's {n_pairs}" if n_used else "None of the adapter's"
    yield (
        f"{share} tensors take effect: llama.cpp does not apply LoRA to {some(unused)} of "
        f"{base.architecture} models; merge it into the base with 'tui merge' instead."
    )


def _has_invocation(adapter: GgufHeader) -> Iterator[str]:
    if invocation_tokens(adapter):
        yield (
            "The adapter acts only after its invocation tokens: it is off before their last place "
            "in the prompt, and without them."
        )
