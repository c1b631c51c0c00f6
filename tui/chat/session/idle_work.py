"""Let the engine prepare while the chat is idle: one task, superseded by whatever comes next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from engine.errors import EngineError
from engine.protocol.chat_request import ChatRequest
from engine.protocol.engine import Engine
from engine.protocol.events import EffectMeasured, FormChosen, PromptProgress, SettleEvent
from tui.chat.session.meter import Meter
from tui.chat.session.observer import Observer
from tui.chat.session.stack_facts import StackFacts


class Settling:
    """Runs the engine's `settle` once at a time and records its events.

    A failure in the background delays no answer, so its sentence is shown only once.

    Args:
        facts: Records what is learnt about the stack.
        meter: Records the progress.
    """

    def __init__(self, engine: Engine, observer: Observer, facts: StackFacts, meter: Meter) -> None:
        self._engine = engine
        self._observer = observer
        self._facts = facts
        self._meter = meter
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()

    def begin(self, request: ChatRequest, delay_s: float) -> None:
        """Prepare for an answer under the stack in force, replacing the current run."""
        self.cancel()
        before = frozenset(self._tasks)

        async def run() -> None:
            # One run at a time: wait for the engine to end the one that was cancelled.
            if before:
                await asyncio.wait(before)
            await self._follow(self._engine.settle(request, delay_s))

        task = asyncio.create_task(run(), name="settle")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Ask the run to end, if there is one; `end` waits for it."""
        for task in self._tasks:
            # Only once: a second cancellation would interrupt the engine while it stops its worker.
            if not task.cancelling():
                task.cancel()

    async def end(self) -> None:
        """Cancel the run and wait until it has ended."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _follow(self, events: AsyncIterator[SettleEvent]) -> None:
        try:
            async for event in events:
                self._take(event)
        except EngineError as error:
            sentence = str(error)
            if sentence not in self._told:
                self._told.add(sentence)
                self._observer.told(sentence, "warning")
        finally:
            self._meter.n_prepared = self._meter.n_to_prepare = 0
            self._observer.session_changed()

    def _take(self, event: SettleEvent) -> None:
        if isinstance(event, PromptProgress):
            self._meter.n_prepared, self._meter.n_to_prepare = event.n_done, event.n_total
            self._meter.n_context = event.n_total
            self._observer.session_changed()
        elif isinstance(event, EffectMeasured):
            for sentence in self._facts.measured(event):
                self._observer.told(sentence, "warning")
            self._observer.facts_changed()
        elif isinstance(event, FormChosen):
            self._facts.chosen(event)
            self._observer.facts_changed()
