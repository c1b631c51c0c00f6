"""Values that requests and events carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import msgspec

from engine.gguf.base_facts import BaseFacts
from modelfiles.parameters import Parameters

if TYPE_CHECKING:
    from modelfiles.model import Model

FinishReason = Literal["stop", "length", "cancelled", "failed"]
"""`stop`: the model ended or met a stop string; `length`: num_predict or the context ran out."""


Form = Literal["none", "single", "layered", "fused"]
"""How the stack is passed to llama.cpp: no adapter, one, several separately, or one fused."""


NEXT_TO_NONE_NATS = 1e-4
"""Effects below this are less than rounding alone causes: one stack layered and fused differs by
2.4e-4 on a Q8_0 base. The weakest of the demo's adapters has 4e-3 nats at a scale of 0.25."""


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


class BaseReference(msgspec.Struct, frozen=True):
    """Names a base in two ways; an engine uses the one that it can follow.

    A local worker loads the file. An engine on another machine, which cannot read it, looks the
    name up among the models it serves.
    """

    path: str
    """Absolute path of the base GGUF on this machine."""
    name: str = ""
    """What the user calls the model with this base; empty if it was named by its path."""

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return the reference to a model's base."""
        return cls(str(model.base), model.name)


class LoadSpec(msgspec.Struct, frozen=True):
    """Which base to load and how; None leaves the choice to the engine."""

    base: BaseReference
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    """Only those of `modelfiles.parameters.LOAD_TIME` are read."""


class BaseInfo(msgspec.Struct, frozen=True):
    """Description of the loaded base."""

    facts: BaseFacts
    """What the base says of itself; a base without a name has that of its reference."""
    description: str
    """llama.cpp's description, for example `llama 3B Q8_0`."""
    n_ctx: int
    """Context length in use, in tokens."""
    n_threads: int
    load_s: float
    repositories: tuple[str, ...] = ()
    """Names of the base on the Hugging Face Hub, `user/repo`, the likeliest first."""
    notices: tuple[str, ...] = ()
    """Sentences for the user on load parameters that were not applied as asked."""
    template_problem: str = ""
    """Why a chat with this base needs a TEMPLATE; empty if its own chat template does."""

    def notices_for(self, *, has_template: bool) -> tuple[str, ...]:
        """Return the sentences for prompts with a template of their own, or with the base's."""
        is_told = self.template_problem and not has_template
        return (*self.notices, self.template_problem) if is_told else self.notices


class GenerationStats(msgspec.Struct, frozen=True):
    """Token counts and times of one answer."""

    n_prompt: int
    """Tokens of the rendered prompt."""
    n_reused: int
    """Prompt tokens taken from the KV cache instead of being evaluated."""
    n_decoded: int
    """Tokens generated."""
    prefill_s: float
    decode_s: float
    n_ctx: int
    n_dropped_messages: int = 0
    """Number of oldest messages dropped because the conversation did not fit the context."""
    n_thought: int = 0
    """Tokens of `n_decoded` that belong to the model's thinking."""
    form: Form = "none"
    """How the stack was applied when the answer ended."""
    is_approximate: bool = False
    """Whether part of the answer's KV cache was computed under another stack (`swap = keep`, or a
    stack set during the answer)."""

    @property
    def prefill_tokens_per_s(self) -> float:
        """Evaluated prompt tokens per second; 0 when nothing was evaluated."""
        evaluated = self.n_prompt - self.n_reused
        return evaluated / self.prefill_s if self.prefill_s > 0 else 0.0

    @property
    def decode_tokens_per_s(self) -> float:
        """Generated tokens per second; 0 when nothing was generated."""
        return self.n_decoded / self.decode_s if self.decode_s > 0 else 0.0

    @property
    def n_context(self) -> int:
        """Tokens of the context in use after the answer."""
        return self.n_prompt + self.n_decoded


class AdapterEffect(msgspec.Struct, frozen=True):
    """Effect of one adapter on the loaded base, alone and at scale 1."""

    sha256: str
    """Digest of the adapter's content."""
    effect_nats: float
    """Mean KL divergence of the next-token distribution against the bare base, in nats."""
    n_tensors: int
    """Number of the adapter's tensor pairs."""
    n_used: int | None
    """Pairs that llama.cpp's graph really multiplies; None if that could not be traced."""
    notices: tuple[str, ...] = ()
    """Sentences for the user if it has no or almost no effect, or is only partly used."""
