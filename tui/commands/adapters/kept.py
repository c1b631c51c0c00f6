"""Describe what an approximation keeps of the energy, and parse the rank it is given."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from engine.adapters.fusing.energy import Energy, ModuleEnergy, least, whole

MAX_RANK = 65_536


def rank_number(text: str) -> int:
    """Return the rank that an option names, for argparse."""
    try:
        rank = int(text)
    except ValueError:
        rank = 0
    if not 1 <= rank <= MAX_RANK:
        raise argparse.ArgumentTypeError(
            f"the rank must be a whole number from 1 to {MAX_RANK}, not '{text}'"
        )
    return rank


def kept_text(energy: Energy, modules: Sequence[ModuleEnergy], whole_thing: str) -> str:
    """Return the share kept in all, and in the module that loses most."""
    worst = least(modules)
    text = f"{energy.shown} of {whole_thing}"
    if len(modules) < 2 or worst.energy.is_whole:
        return text
    return f"{text}; least {worst.energy.shown} in {worst.target}"


def module_rows(modules: Sequence[ModuleEnergy]) -> list[tuple[str, str, str]]:
    """Return a row per kind of module: its name, the share kept in all layers, the least share."""
    kinds: dict[str, list[ModuleEnergy]] = {}
    for module in modules:
        kinds.setdefault(_kind(module.target), []).append(module)
    rows = []
    for kind, members in kinds.items():
        worst = least(members)
        layer = _layer(worst.target)
        where = f"least {worst.energy.shown} in layer {layer}" if len(members) > 1 else ""
        rows.append((kind, whole(members).shown, where))
    return rows


def module_documents(modules: Sequence[ModuleEnergy]) -> list[dict[str, Any]]:
    """Return the modules for a JSON document."""
    return [
        {"target": module.target, "rank": module.rank, "kept": module.energy.share}
        for module in modules
    ]


def ranks_text(ranks: Sequence[int]) -> str:
    """Return `8`, or `4-16` if the ranks differ."""
    low, high = min(ranks), max(ranks)
    return str(low) if low == high else f"{low}-{high}"


def _kind(target: str) -> str:
    """Return a tensor's or module's name without its layer: `attn_q`, `self_attn.q_proj`."""
    return re.sub(r"^(blk|.*?)\.\d+\.|\.weight$", "", target)


def _layer(target: str) -> str:
    match = re.search(r"\.(\d+)\.", target)
    return match[1] if match else "-"
