"""Adapters that act from their invocation tokens on (aLoRA): which stack each token is under.

Up to the last place in the prompt where an adapter's invocation tokens stand, it is off, so that
the base's KV cache serves before it; from the first of those tokens on, and in the answer, it is
on. If they stand nowhere it stays off. Source: `calculate_alora_offsets` of PEFT, which
llama-server follows; here any number of such adapters may be in a stack, each with a place of its
own, beside ordinary ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.runtime.kv.cells import Cells, cells_of, stack_key
from engine.stack import AdapterStack, StackEntry


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt that is evaluated under one stack."""

    end: int
    """Number of tokens of the prompt up to the end of the part."""
    stack: AdapterStack


Plan = tuple[Segment, ...]


def plan(stack: AdapterStack, tokens: Sequence[int]) -> Plan:
    """Return the parts of a prompt, in order; the answer is under the stack of the last one."""
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
    """Return the cells of `tokens` under a plan; those after its end are under the last stack."""
    return cells_of(tokens, [(part.end, stack_key(part.stack.digest)) for part in segments])


def notices(stack: AdapterStack, tokens: Sequence[int]) -> tuple[str, ...]:
    """Return a sentence for each adapter that stays off since nothing in the prompt invokes it."""
    return tuple(
        f"The adapter {entry.adapter.name} stayed off: it acts from its invocation tokens on, and "
        "the prompt has none of them."
        for entry in _activated(stack)
        if last_occurrence(tokens, entry.adapter.invocation_tokens) is None
    )


def last_occurrence(tokens: Sequence[int], wanted: Sequence[int]) -> int | None:
    """Return where `wanted` begins for the last time in `tokens`, or None."""
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
    """Return the active entries that wait for their invocation tokens."""
    return tuple(entry for entry in stack.active if entry.adapter.invocation_tokens)
