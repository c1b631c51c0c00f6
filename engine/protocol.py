"""What the client and the worker process say to each other: one JSON document a line.

Requests travel on the worker's stdin, events on its stdout. Every event names the request it
answers in `request_id`; the last event of a request is `Loaded`, `Configured`, `StackApplied`,
`Settled`, `Finished` or `Failed`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.settings import EngineSettings
from engine.stack import AdapterStack
from modelfiles.parameters import Parameters

FinishReason = Literal["stop", "length", "cancelled", "failed"]
"""`stop`: the model ended or met a stop string; `length`: num_predict or the context ran out."""

Form = Literal["none", "single", "layered", "fused"]
"""How llama.cpp is given the stack: no adapter, one, several one by one, or one fused from them."""


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


class LoadSpec(msgspec.Struct, frozen=True):
    """Which base to load and how; None leaves the choice to the engine."""

    base: str
    """Absolute path of the base GGUF."""
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    """Only those of `modelfiles.parameters.LOAD_TIME` are read."""


class BaseInfo(msgspec.Struct, frozen=True):
    """What the loaded base is."""

    name: str
    """`general.name`, else the file's stem."""
    architecture: str
    description: str
    """llama.cpp's own words, for example `llama 3B Q8_0`."""
    n_params: int
    size_bytes: int
    n_ctx: int
    """Context length in use, in tokens."""
    n_ctx_train: int
    """Context length the base was trained with, in tokens."""
    n_threads: int
    load_s: float
    has_chat_template: bool
    notices: tuple[str, ...] = ()
    """Sentences for the person on what was loaded otherwise than asked."""


class GenerationStats(msgspec.Struct, frozen=True):
    """What one answer cost."""

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
    """Oldest messages left out because the conversation no longer fits the context."""
    n_thought: int = 0
    """Tokens of `n_decoded` that belong to what the model thought."""
    form: Form = "none"
    """How the stack was applied when the answer ended."""
    is_approximate: bool = False
    """Whether a part of what the answer rests on was computed under another stack (`swap = keep`,
    or a stack set while the answer was written)."""

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


# Requests ---------------------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a base, replacing the one loaded; answered by LoadProgress… and Loaded."""

    request_id: int
    spec: LoadSpec


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Use these settings from here on; answered by Configured."""

    request_id: int
    settings: EngineSettings


class SetStack(msgspec.Struct, frozen=True, tag="set_stack"):
    """Apply a stack from the next evaluation on; answered by StackApplied.

    With `is_live` in the settings it applies in the middle of an answer, else after it.
    """

    request_id: int
    stack: AdapterStack


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """Make ready for the next answer while nothing else is asked.

    Evaluates the conversation under the stack in force, chooses its form and measures its effect.
    Answered by PromptProgress…, EffectMeasured, FormChosen (each at most where there is something
    to say) and Settled. Any other request ends it early.
    """

    request_id: int
    messages: tuple[ChatMessage, ...]
    """The conversation so far, oldest first; may be empty."""
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    template: str | None = None
    thinks: bool | None = None
    delay_s: float = 0.0
    """Pause before the work begins, so that a stack still being changed costs nothing."""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Answer a conversation; answered by PromptProgress…, Tokens… and Finished."""

    request_id: int
    messages: tuple[ChatMessage, ...]
    """Oldest first, the system message (if any) first of all, a user message last."""
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    template: str | None = None
    """The TEMPLATE of the Modelfile, a Go template; None for the base's own chat template."""
    thinks: bool | None = None
    """Whether a reasoning model is asked to think; None leaves it to its template."""


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop the generation or the settling `target_id`."""

    target_id: int


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """End the worker after freeing everything in order."""


Request = Load | Configure | SetStack | Settle | Generate | Cancel | Shutdown


# Events -----------------------------------------------------------------------------------------


class LoadProgress(msgspec.Struct, frozen=True, tag="load_progress"):
    """How much of the base has been read, from 0 to 1."""

    request_id: int
    fraction: float


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The base is ready; no stack is applied."""

    request_id: int
    info: BaseInfo


class StackApplied(msgspec.Struct, frozen=True, tag="stack_applied"):
    """The stack is in force for every evaluation from here on."""

    request_id: int
    digest: str
    elapsed_s: float
    form: Form = "none"


class Configured(msgspec.Struct, frozen=True, tag="configured"):
    """The settings are in force."""

    request_id: int


class AdapterEffect(msgspec.Struct, frozen=True):
    """What one adapter does on the loaded base, alone and at scale 1."""

    sha256: str
    """The adapter's content."""
    effect_nats: float
    """Mean KL divergence of the next-token distribution against the bare base, in nats."""
    n_tensors: int
    """Tensor pairs the adapter has."""
    n_used: int | None
    """Pairs that llama.cpp's graph really multiplies; None where that could not be seen."""
    notices: tuple[str, ...] = ()
    """Sentences for the person where it does nothing, next to nothing or only a part."""


class EffectMeasured(msgspec.Struct, frozen=True, tag="effect_measured"):
    """What the stack in force does to the base on the probe prompt."""

    request_id: int
    digest: str
    effect_nats: float
    """Mean KL divergence of the next-token distribution against the bare base, in nats."""
    adapters: tuple[AdapterEffect, ...] = ()
    """One for each adapter content that is active in the stack."""


class FormChosen(msgspec.Struct, frozen=True, tag="form_chosen"):
    """Which form of the stack serves from here on."""

    request_id: int
    digest: str
    form: Form
    reason: str = ""
    """One clause for the person, for example `fused decodes 2.1 times as fast`; empty where
    no measurement decided."""


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """Settling is over."""

    request_id: int
    is_complete: bool
    """False where another request came before everything was done."""
    n_ready: int = 0
    """Tokens of the conversation now in the KV cache under the stack in force."""


class PromptProgress(msgspec.Struct, frozen=True, tag="prompt_progress"):
    """How many of the prompt's tokens are in the KV cache."""

    request_id: int
    n_done: int
    n_total: int
    n_reused: int


class Tokens(msgspec.Struct, frozen=True, tag="tokens"):
    """A piece of the answer: whole characters, never a part of a stop string."""

    request_id: int
    text: str
    n_tokens: int
    thinking: str = ""
    """What the model thinks before it answers; no part of the answer."""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The answer has ended; `text` is the whole of it, also when it was cut short."""

    request_id: int
    reason: FinishReason
    text: str
    stats: GenerationStats
    notices: tuple[str, ...] = ()
    """Sentences for the person, such as messages left out of the context."""
    error: str = ""
    """One sentence, only where `reason` is `failed`."""
    thinking: str = ""
    """What the model thought before it answered; no part of `text`."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A request could not be done; nothing changed."""

    request_id: int
    kind: str
    """Name of the error class in `engine.errors`."""
    message: str


GenerationEvent = PromptProgress | Tokens | Finished
SettleEvent = PromptProgress | EffectMeasured | FormChosen | Settled
Event = (
    LoadProgress
    | Loaded
    | Configured
    | StackApplied
    | EffectMeasured
    | FormChosen
    | Settled
    | PromptProgress
    | Tokens
    | Finished
    | Failed
)
