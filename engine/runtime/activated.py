"""Plan which stack applies to each token of a prompt with activated adapters (aLoRA).

Such an adapter is off up to the last occurrence of its invocation tokens in the prompt, so that
the base's KV cache can be reused there; it is on from the first of those tokens to the end of the
answer. Without an occurrence it stays off. Source: `calculate_alora_offsets` of PEFT, which
llama-server follows; here a stack may hold any number of them, each with its own position, beside
ordinary adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.runtime.kv.cells import Cells, cells_of, stack_key
from engine.stack import AdapterStack, StackEntry


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt evaluated under one stack."""

    end: int
    """Number of prompt tokens up to the end of the segment."""
    stack: AdapterStack


Plan = tuple[Segment, ...]


def plan(stack: AdapterStack, tokens: Sequence[int]) -> Plan:
    """Return the segments of a prompt, in order; the answer uses the stack of the last one."""
    starts = {
        entry.adapter.name: last_occurrence(tokens, entry.adapter.invocation_tokens)
        for entry in _activated(stack)
    }
    n = len(tokens)
    ends = sorted({start for start in starts.values() if start is not None and start > 0} | {n})
    segments = []
    for end in ends:
        part = stack
        for name, start in starts.items():
            if start is None or start >= end:
                part = part.with_enabled(name, False)
        segments.append(Segment(end, part))
    return tuple(segments)


def cells_of_plan(segments: Plan, tokens: Sequence[int]) -> Cells:
    """Return the cells of `tokens` under a plan; tokens after its end get the last stack."""
    return cells_of(tokens, [(part.end, stack_key(part.stack.digest)) for part in segments])


def notices(stack: AdapterStack, tokens: Sequence[int]) -> tuple[str, ...]:
    """Return a sentence for each adapter that stays off because the prompt does not invoke it."""
    return tuple(
        f"The adapter {entry.adapter.name} stayed off: it acts from its invocation tokens on, and "
        "the prompt has none of them."
        for entry in _activated(stack)
        if last_occurrence(tokens, entry.adapter.invocation_tokens) is None
    )


def last_occurrence(tokens: Sequence[int], wanted: Sequence[int]) -> int | None:
    """Return the index of the last occurrence of `wanted` in `tokens`, or None."""
    n_places = len(tokens) - len(wanted) + 1
    if n_places <= 0:
        return None
    array = np.asarray(tokens)
    is_there = np.ones(n_places, dtype=np.bool_)
    for i, token in enumerate(wanted):
        is_there &= array[i : i + n_places] == token
    places = np.flatnonzero(is_there)
    return int(places[-1]) if places.size else None


def _activated(stack: AdapterStack) -> tuple[StackEntry, ...]:
    """Return the active entries whose adapters have invocation tokens."""
    return tuple(entry for entry in stack.active if entry.adapter.invocation_tokens)
