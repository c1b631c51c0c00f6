"""Measure the decode speed of a stack's two forms on this machine.

The gain from fusing varies: with rank 16 on every linear layer, eight adapters decoded 1.8 to 2.6
times as fast fused as layered, two adapters 1.0 to 1.1 times (two cores, 135M and 1B bases).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context

Pairs = Sequence[tuple[LoraAdapter, float]]

N_ROUNDS = 3
N_TOKENS = 4
"""Tokens decoded in one timed run, without the first one after a change of adapters, which also
builds the graph."""


def speed_ratio(context: Context, layered: Pairs, fused: Pairs) -> Generator[None, None, float]:
    """Return the decode speed of `fused` relative to `layered`; yields after every token.

    Args:
        context: A scratch context of at least `N_TOKENS + 1` tokens: its KV cache is emptied and
            its adapters are replaced.
        layered: The adapters of the stack, separately.
        fused: The same stack as one adapter.
    """
    best_s = {True: float("inf"), False: float("inf")}
    for _ in range(N_ROUNDS):
        # Alternate, so that other load on the machine affects both alike; the shortest run counts.
        for is_fused in (True, False):
            context.clear()
            context.set_adapters(fused if is_fused else layered)
            context.decode([0])
            yield
            elapsed_s = 0.0
            for _ in range(N_TOKENS):
                started = time.perf_counter()
                context.decode([0])
                elapsed_s += time.perf_counter() - started
                yield  # a token of a large base takes a second, and a request may be waiting
            best_s[is_fused] = min(best_s[is_fused], elapsed_s)
    return best_s[False] / best_s[True]
