"""Wrap a chain of llama.cpp samplers that ends in a choice of token."""

from __future__ import annotations

from typing import Any

from engine.disk.handle import Handle
from engine.llama.context import Context
from engine.llama.library import lc


class SamplerChain(Handle):
    """A chain of llama.cpp samplers in the order they were added; the last one picks a token."""

    def __init__(self) -> None:
        self._chain: Any = lc.llama_sampler_chain_init(lc.llama_sampler_chain_default_params())

    def _free(self) -> None:
        lc.llama_sampler_free(self._chain)

    def add_penalties(
        self, n_vocab: int, last_n: int, repeat: float, frequency: float, presence: float
    ) -> None:
        """Penalise tokens that occur among the last `last_n`."""
        self._add(lc.llama_sampler_init_penalties(n_vocab, last_n, repeat, frequency, presence))

    def add_top_k(self, k: int) -> None:
        """Keep the `k` likeliest tokens."""
        self._add(lc.llama_sampler_init_top_k(k))

    def add_typical(self, p: float) -> None:
        """Keep locally typical tokens up to a total probability of `p` (arXiv:2202.00666)."""
        self._add(lc.llama_sampler_init_typical(p, 1))

    def add_top_p(self, p: float) -> None:
        """Keep the likeliest tokens up to a total probability of `p` (arXiv:1904.09751)."""
        self._add(lc.llama_sampler_init_top_p(p, 1))

    def add_min_p(self, p: float) -> None:
        """Keep tokens at least `p` times as probable as the likeliest."""
        self._add(lc.llama_sampler_init_min_p(p, 1))

    def add_temperature(self, temperature: float) -> None:
        """Divide the logits by `temperature`."""
        self._add(lc.llama_sampler_init_temp(temperature))

    def add_greedy(self) -> None:
        """Choose the likeliest token."""
        self._add(lc.llama_sampler_init_greedy())

    def add_draw(self, seed: int) -> None:
        """Draw a token with a generator seeded by `seed`, 0 to 2**32 - 1."""
        self._add(lc.llama_sampler_init_dist(seed))

    def accept(self, token: int) -> None:
        """Count a token that was not sampled here, for the penalties."""
        lc.llama_sampler_accept(self._chain, token)

    def sample(self, context: Context) -> int:
        """Return and accept a token drawn from the last logits of `context`."""
        return int(lc.llama_sampler_sample(self._chain, context._context, -1))

    def _add(self, sampler: Any) -> None:
        lc.llama_sampler_chain_add(self._chain, sampler)  # the chain now owns it
