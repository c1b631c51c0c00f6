"""Describe a fused adapter: metadata of a GGUF file, README of a PEFT folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.adapters.fusing.file import NAMES_KEY, Further
from engine.gguf.header import GgufHeader
from engine.stack import AdapterStack

_BASE_KEYS: Final = tuple(f"general.base_model.0.{key}" for key in ("name", "organization"))
_ADDRESS: Final = "general.base_model.0.repo_url"


def stack_metadata(
    stack: AdapterStack, adapters: Sequence[GgufHeader], rank: int | None
) -> dict[str, Further]:
    """Return name, description and base model for the fused adapter of a stack.

    Includes the base fields that are equal in all adapters. `rank` is the rank it was compressed
    to, or None.
    """
    names = " + ".join(entry.adapter.name for entry in stack.active)
    at_rank = f", compressed to rank {rank}" if rank is not None else ""
    metadata: dict[str, Further] = {
        "general.name": names,
        "general.description": f"Fused from {stack.label}{at_rank}.",
        NAMES_KEY: tuple(entry.adapter.name for entry in stack.active),
    }
    said: dict[str, Further] = {}
    for key in (*_BASE_KEYS, _ADDRESS):
        values = {header.text(key) or "" for header in adapters}
        value = values.pop() if len(values) == 1 else ""
        if value:
            said[key] = value
    return {**metadata, **said, "general.base_model.count": 1} if said else metadata
