"""Requests to the worker: one msgspec struct a line of JSON on its stdin."""

from __future__ import annotations

import msgspec

from engine.protocol.chat_request import ChatRequest
from engine.protocol.settings import EngineSettings
from engine.protocol.values import LoadSpec
from engine.stack import AdapterStack


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
    """Prepare for the next answer while no other request is waiting.

    Evaluates the conversation under the stack in force, chooses the stack's form and measures its
    effect. Answered by PromptProgress…, EffectMeasured… and FormChosen (each only if there is news)
    and Settled. Any other request ends it early.
    """

    request_id: int
    chat: ChatRequest
    delay_s: float = 0.0
    """Pause before the work begins, so that a stack still being changed costs nothing."""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Answer a conversation; answered by PromptProgress…, Tokens… and Finished."""

    request_id: int
    chat: ChatRequest


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop the generation or the settling `target_id`."""

    target_id: int


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """End the worker after freeing everything in order."""


Request = Load | Configure | SetStack | Settle | Generate | Cancel | Shutdown
