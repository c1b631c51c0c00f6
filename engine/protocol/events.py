"""Messages between the client and the worker process, one JSON document per line.

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
    """Effect of the stack in force on the base, measured on the probe prompt."""

    request_id: int
    digest: str
    effect_nats: float
    """Mean KL divergence of the next-token distribution against the bare base, in nats."""
    adapters: tuple[AdapterEffect, ...] = ()
    """One for each active adapter content measured so far."""


class FormChosen(msgspec.Struct, frozen=True, tag="form_chosen"):
    """The form of the stack used from here on."""

    request_id: int
    digest: str
    form: Form
    reason: str = ""
    """One clause for the user, for example `fused decodes 2.1 times as fast`; '' if no measurement
    decided."""


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """Settling has ended."""

    request_id: int
    is_complete: bool
    """False if another request arrived before everything was done."""
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
    """A piece of the model's thinking, which is not part of the answer."""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The answer has ended; `text` is the whole answer, also if it was cut short."""

    request_id: int
    reason: FinishReason
    text: str
    stats: GenerationStats
    notices: tuple[str, ...] = ()
    """Sentences for the user, for instance on dropped messages."""
    error: str = ""
    """One sentence if `reason` is `failed`, else ''."""
    thinking: str = ""
    """The model's thinking, which is not part of `text`."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A request failed and changed nothing."""

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
