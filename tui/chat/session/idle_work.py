"""What the engine does while nobody asks: one task, superseded by whatever comes next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from engine.errors import EngineError
from engine.protocol.engine import Engine
from engine.protocol.events import EffectMeasured, FormChosen, PromptProgress, SettleEvent
from engine.protocol.values import ChatMessage
from modelfiles.model import Model
from tui.chat.session.meter import Meter
from tui.chat.session.observer import Observer
from tui.chat.session.stack_facts import StackFacts


class Settling:
    """Runs the engine's `settle` once at a time and takes note of what it tells.

    A failure in the background hurts nobody who waits: its sentence is told once.

    Args:
        facts: Takes what is learnt of the stack.
        meter: Takes the progress.
    """

    def __init__(self, engine: Engine, observer: Observer, facts: StackFacts, meter: Meter) -> None:
        self._engine = engine
        self._observer = observer
        self._facts = facts
        self._meter = meter
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()

    def begin(
        self,
        messages: tuple[ChatMessage, ...],
        model: Model,
        thinks: bool | None,
        delay_s: float,
    ) -> None:
        """Make ready for an answer under the stack in force, in place of what went on."""
        self.cancel()
        before = frozenset(self._tasks)

        async def run() -> None:
            # One at a time: the engine is asked anew once it has been told to stop.
            if before:
                await asyncio.wait(before)
            events = self._engine.settle(
                messages, model.parameters, model.template, thinks, delay_s
            )
            await self._follow(events)

        task = asyncio.create_task(run(), name="settle")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Ask the run to end, if there is one; `end` waits for it."""
        for task in self._tasks:
            # Once: a second one would interrupt the engine's word to its worker to stop.
            if not task.cancelling():
                task.cancel()

    async def end(self) -> None:
        """Return once nothing runs any more."""
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
