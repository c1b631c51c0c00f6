"""What the client and the worker process say to each other: one JSON document a line.

Requests travel on the worker's stdin, events on its stdout. Every event names the request it
answers in `request_id`; the last event of a request is `Loaded`, `Configured`, `StackApplied`,
`Settled`, `Finished` or `Failed`.
"""

from __future__ import annotations

import msgspec

from engine.protocol.values import AdapterEffect, BaseInfo, FinishReason, Form, GenerationStats

# Requests ---------------------------------------------------------------------------------------


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
