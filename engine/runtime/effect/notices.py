"""Warn about adapters that have no or little effect on the base, or are only partly used."""

from __future__ import annotations

from collections.abc import Sequence

from engine.adapters.checking.ignored_tensors import is_latent_attention
from engine.adapters.checking.rules import some
from engine.protocol.values import NEXT_TO_NONE_NATS, AdapterEffect


def effect_notices(
    name: str,
    effect: AdapterEffect,
    *,
    unused: Sequence[str],
    architecture: str,
    is_untrained: bool = False,
) -> tuple[str, ...]:
    """Return sentences on an adapter with no or almost no effect or unused tensors; may be empty.

    Args:
        name: The adapter's name in the rack.
        effect: Its effect alone, at scale 1.
        unused: Base tensors whose pairs the graph never multiplies, as `used_tensors` found.
        architecture: The base's architecture.
        is_untrained: Whether all its B factors are zero (`checking.untrained`).
    """
    n_tensors, n_used = effect.n_tensors, effect.n_used
    ignored = (
        f"llama.cpp does not apply LoRA to {_tensors(unused, architecture)}; "
        "merge it into the base with 'tui merge' instead."
    )
    if is_untrained:
        return (
            f"{name} has no effect on this base: its B factors are all zero, as before the first "
            "step of a training.",
        )
    if unused and n_used == 0:
        return (f"{name} has no effect on this base: {ignored}",)
    sentences = []
    if effect.effect_nats == 0.0:
        sentences.append(
            f"{name} has no effect on this base: at scale 1 it changes no logit of the probe."
        )
    elif effect.effect_nats < NEXT_TO_NONE_NATS:
        sentences.append(
            f"{name} has next to no effect on this base: at scale 1 it changes the probe by "
            f"{effect.effect_nats:.1g} nats."
        )
    if unused and n_used is not None:
        sentences.append(f"Only {n_used} of {n_tensors} of {name}'s tensors are used: {ignored}")
    return tuple(sentences)


def _tensors(unused: Sequence[str], architecture: str) -> str:
    others = [target for target in unused if not is_latent_attention(target, architecture)]
    parts = ["the latent attention"] if len(others) < len(unused) else []
    if others:
        parts.append(some(others))
    return f"{' and '.join(parts)} of {architecture}"
