"""Define the interface between the chat and an engine: a local worker now, a server later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from engine.protocol.adapters import Adapters
from engine.protocol.capabilities import Capabilities
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import GenerationEvent, SettleEvent, StackApplied
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseInfo, LoadSpec
from engine.stack import AdapterStack
from modelfiles.model import Model


class Engine(Protocol):
    """What the chat needs from an engine; one generation at a time.

    Every method raises subclasses of `engine.errors.EngineError` with a sentence for the user.
    After a crash of the worker the next call starts a new one with the same base and stack.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do."""

    def adapters(self, model: Model) -> Adapters:
        """Return what finds, checks and inspects adapters for a model's base, loaded or not."""

    async def load(
        self, spec: LoadSpec, on_progress: Callable[[float], None] | None = None
    ) -> BaseInfo:
        """Load a base; `on_progress` is called with the fraction read, from 0 to 1."""

    async def configure(self, settings: EngineSettings) -> None:
        """Use `settings` from here on, also in workers started later."""

    async def set_stack(self, stack: AdapterStack) -> StackApplied:
        """Apply `stack` from the next evaluation on; on an error the previous one stays.

        During an answer it takes effect with the next token if `settings.is_live`, else after the
        answer; the call returns when it has taken effect.
        """

    def settle(self, request: ChatRequest, delay_s: float = 0.0) -> AsyncIterator[SettleEvent]:
        """Prepare for the next answer in the background; the last event is `Settled`.

        Begins `delay_s` after the call and ends early at any other request.
        """

    def generate(self, request: ChatRequest) -> AsyncIterator[GenerationEvent]:
        """Answer a conversation; the last event is always `Finished`, also after a crash."""

    async def cancel(self) -> None:
        """Stop the running generation; its last event then has the reason `cancelled`."""

    async def close(self) -> None:
        """End the engine and free its resources."""
