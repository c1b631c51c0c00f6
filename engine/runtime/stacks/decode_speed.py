"""What the two forms of a stack cost: decode speed, measured on the machine at hand.

Fusing pays by different amounts: with rank 16 on every linear layer, eight adapters decoded 1.8 to
2.6 times as fast fused as one by one, two adapters 1.0 to 1.1 times (two cores, 135M and 1B bases).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context

Pairs = Sequence[tuple[LoraAdapter, float]]

N_ROUNDS = 3
N_TOKENS = 4
"""Tokens decoded in one timed run; the first one after a change also lays out the graph and does
not count."""


def speed_ratio(context: Context, layered: Pairs, fused: Pairs) -> Generator[None, None, float]:
    """Return how many times as fast `fused` decodes as `layered`; yields after every token.

    Args:
        context: One of which nothing is kept: it is emptied, and what is set on it is replaced.
            It must hold `N_TOKENS + 1` tokens.
        layered: The adapters one by one.
        fused: The same stack in one adapter.
    """
    best_s = {True: float("inf"), False: float("inf")}
    for _ in range(N_ROUNDS):
        # In turn, so that other work on the machine falls on both alike; the shortest run counts.
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
                yield  # a token of a large base takes a second, and somebody may be waiting
            best_s[is_fused] = min(best_s[is_fused], elapsed_s)
    return best_s[False] / best_s[True]
