"""The seam between the chat and whatever answers: a local worker now, a remote server later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import GenerationEvent, SettleEvent, StackApplied
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseInfo, LoadSpec
from engine.stack import AdapterStack


class Engine(Protocol):
    """What the chat needs of an engine; one generation at a time.

    Every method raises a subclass of `engine.errors.EngineError` with a sentence for the person.
    After a crash of the worker the next call starts a new one, with the same base and stack.
    """

    async def load(
        self, spec: LoadSpec, on_progress: Callable[[float], None] | None = None
    ) -> BaseInfo:
        """Load a base; `on_progress` is told the fraction read, from 0 to 1."""

    async def configure(self, settings: EngineSettings) -> None:
        """Use `settings` from here on, also in a worker started later."""

    async def set_stack(self, stack: AdapterStack) -> StackApplied:
        """Apply `stack` from the next evaluation on; on an error the old stack stays in force.

        During an answer it takes effect with its next token where `settings.is_live`, else after
        the answer; the call returns when it has taken effect.
        """

    def settle(self, request: ChatRequest, delay_s: float = 0.0) -> AsyncIterator[SettleEvent]:
        """Make ready for the next answer in the background; the last event is `Settled`.

        Begins `delay_s` after the call and ends early as soon as anything else is asked.
        """

    def generate(self, request: ChatRequest) -> AsyncIterator[GenerationEvent]:
        """Answer a conversation; the last event is always `Finished`, also after a crash."""

    async def cancel(self) -> None:
        """Stop the running generation; its last event then says `cancelled`."""

    async def close(self) -> None:
        """End the engine and free what it holds."""
