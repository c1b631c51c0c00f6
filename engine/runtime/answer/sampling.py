"""Turn sampling PARAMETERs into a llama.cpp sampler chain, with Ollama's order and defaults."""

from __future__ import annotations

import random

import msgspec

from engine.llama.model import Model
from engine.llama.sampler import SamplerChain
from modelfiles.parameters import Parameters

SEED_SPAN = 2**32


class Sampling(msgspec.Struct, frozen=True):
    """Sampling parameters with their defaults (Ollama's `api/types.go`)."""

    seed: int = -1
    """A negative seed draws a new one for every answer."""
    temperature: float = 0.8
    """0 or less always chooses the likeliest token."""
    top_k: int = 40
    """0 or less keeps every token."""
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    """Number of last tokens that the penalties count; 0 is off, negative the whole context."""
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    @classmethod
    def of(cls, parameters: Parameters) -> Sampling:
        """Return the values of `parameters`, with defaults for those not set."""
        names = cls.__struct_fields__
        values = {name: getattr(parameters, name) for name in names}
        return cls(**{name: value for name, value in values.items() if value is not None})

    @property
    def has_penalties(self) -> bool:
        """Whether any penalty is in effect."""
        is_neutral = (
            self.repeat_penalty == 1.0
            and self.presence_penalty == 0.0
            and self.frequency_penalty == 0.0
        )
        return self.repeat_last_n != 0 and not is_neutral

    def chain(self, model: Model, prompt: list[int], n_ctx: int) -> SamplerChain:
        """Build the chain: penalties, top-k, typical, top-p, min-p, temperature, draw.

        The order is that of llama.cpp's server, which Ollama runs. Penalties also count the last
        tokens of `prompt`.
        """
        chain = SamplerChain()
        if self.has_penalties:
            last_n = self.repeat_last_n if self.repeat_last_n > 0 else n_ctx
            chain.add_penalties(
                model.n_vocab,
                last_n,
                self.repeat_penalty,
                self.frequency_penalty,
                self.presence_penalty,
            )
            for token in prompt[-last_n:]:
                chain.accept(token)
        if self.temperature <= 0.0:
            chain.add_greedy()
            return chain
        if self.top_k > 0:
            chain.add_top_k(self.top_k)
        if self.typical_p < 1.0:
            chain.add_typical(self.typical_p)
        if self.top_p < 1.0:
            chain.add_top_p(self.top_p)
        if self.min_p > 0.0:
            chain.add_min_p(self.min_p)
        chain.add_temperature(self.temperature)
        seed = self.seed if self.seed >= 0 else random.randrange(SEED_SPAN)
        chain.add_draw(seed % SEED_SPAN)
        return chain
