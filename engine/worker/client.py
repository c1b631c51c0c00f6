"""Talk to the worker process from asyncio: the local implementation of the engine seam."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

from engine import errors
from engine.errors import BaseError, EngineError, WorkerError
from engine.protocol.capabilities import Capabilities
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import (
    Configured,
    EffectMeasured,
    Event,
    Failed,
    Finished,
    FormChosen,
    GenerationEvent,
    Loaded,
    LoadProgress,
    PromptProgress,
    Settled,
    SettleEvent,
    StackApplied,
    Tokens,
)
from engine.protocol.requests import Cancel, Configure, Generate, Load, Request, SetStack, Settle
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseInfo, BaseReference, GenerationStats, LoadSpec
from engine.stack import AdapterStack
from engine.worker.adapter_files import AdapterFiles, new_base_norms
from engine.worker.process import WorkerProcess
from modelfiles.model import Model

_Last = TypeVar("_Last", Configured, Loaded, StackApplied)


class EngineClient:
    """Runs one worker process; if it dies, starts a new one and restores its state.

    Args:
        why_refused: Returns a clause to add to the error when a base is refused; may be empty.
        log_path: File to which the worker's messages are appended; its folder must exist.
    """

    capabilities = Capabilities()

    def __init__(
        self,
        *,
        why_refused: Callable[[BaseReference], str] = lambda _: "",
        log_path: Path | None = None,
    ) -> None:
        self._why_refused = why_refused
        self._norms = new_base_norms()
        self._log_path = log_path
        self._worker: WorkerProcess | None = None
        self._starting = asyncio.Lock()
        self._ids = itertools.count(1)
        self._spec: LoadSpec | None = None
        self._stack = AdapterStack()
        self._settings = EngineSettings()
        self._has_settings: WorkerProcess | None = None
        """The worker that has the current settings."""
        self._has_base: WorkerProcess | None = None
        """The worker in which the current base is loaded."""
        self._has_stack: WorkerProcess | None = None
        """The worker in which the current stack is in force."""
        self._generation_id: int | None = None

    @property
    def worker_pid(self) -> int | None:
        """Process id of the running worker; None if none is running."""
        worker = self._worker
        return worker.pid if worker is not None and worker.is_alive else None

    def adapters(self, model: Model) -> AdapterFiles:
        """Return what finds, checks and inspects adapters for a model's base, loaded or not."""
        return AdapterFiles(model, self._norms)

    async def load(
        self, spec: LoadSpec, on_progress: Callable[[float], None] | None = None
    ) -> BaseInfo:
        """Load a base and clear the stack; on an error the previous base stays loaded."""
        async with self._starting:
            worker = await self._started()
            await self._configured(worker)
        try:
            info = await self._load(worker, spec, on_progress)
        except BaseError as error:
            if not (why := self._why_refused(spec.base)):
                raise
            raise BaseError(f"{str(error).rstrip('.')}: {why}.") from error
        except asyncio.CancelledError:
            # The worker keeps loading this base, so the previous one must be loaded again.
            self._has_base = self._has_stack = None
            raise
        self._spec, self._stack = spec, AdapterStack()
        self._has_base = self._has_stack = worker
        return info

    async def configure(self, settings: EngineSettings) -> None:
        """Use `settings` from here on, also in workers started later."""
        self._settings, self._has_settings = settings, None
        if self.worker_pid is not None:
            async with self._starting:
                await self._configured(await self._started())

    async def set_stack(self, stack: AdapterStack) -> StackApplied:
        """Apply `stack` from the next evaluation on; on an error the previous one stays."""
        async with self._starting:
            # Do not restore the previous stack first: one of its files may be missing.
            worker = await self._with_base()
        try:
            applied = await self._set_stack(worker, stack)
        except asyncio.CancelledError:
            # The worker still applies this stack, so the previous one must be set again.
            self._has_stack = None
            raise
        self._stack, self._has_stack = stack, worker
        return applied

    async def settle(
        self, request: ChatRequest, delay_s: float = 0.0
    ) -> AsyncGenerator[SettleEvent, None]:
        """Prepare for the next answer in the background; the last event is `Settled`.

        Starts no worker: without a running worker that has base and stack, it only yields an
        incomplete `Settled`.
        """
        request_id = next(self._ids)
        worker = self._worker
        if worker is None or self._has_base is not worker or self._has_stack is not worker:
            yield Settled(request_id, is_complete=False)
            return
        is_over = False
        asked = Settle(request_id, request, delay_s)
        try:
            async with contextlib.aclosing(self._ask(worker, request_id, asked)) as events:
                async for event in events:
                    if isinstance(event, PromptProgress | EffectMeasured | FormChosen | Settled):
                        is_over = isinstance(event, Settled)
                        yield event
                        if is_over:
                            return
        finally:
            if not is_over:
                with contextlib.suppress(WorkerError):
                    await worker.send(Cancel(request_id))

    async def generate(self, request: ChatRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Answer a conversation; the last event is always `Finished`, also after a crash."""
        request_id = next(self._ids)
        text, thinking, n_decoded, is_finished = "", "", 0, False
        self._generation_id = request_id
        worker: WorkerProcess | None = None
        try:
            worker = await self._restored()
            asked = Generate(request_id, request)
            async with contextlib.aclosing(self._ask(worker, request_id, asked)) as events:
                async for event in events:
                    if isinstance(event, Tokens):
                        text += event.text
                        thinking += event.thinking
                        n_decoded += event.n_tokens
                    if isinstance(event, PromptProgress | Tokens | Finished):
                        is_finished = isinstance(event, Finished)
                        yield event
                        if is_finished:
                            return
        except EngineError as error:
            is_finished = True
            stats = GenerationStats(0, 0, n_decoded, 0.0, 0.0, 0)
            yield Finished(request_id, "failed", text, stats, error=str(error), thinking=thinking)
        finally:
            self._generation_id = None
            if not is_finished and worker is not None:
                # The consumer closed this generator in the middle of the answer.
                with contextlib.suppress(WorkerError):
                    await worker.send(Cancel(request_id))

    async def cancel(self) -> None:
        """Stop the running generation; its last event then has the reason `cancelled`."""
        if self._generation_id is not None and self._worker is not None:
            with contextlib.suppress(WorkerError):
                await self._worker.send(Cancel(self._generation_id))

    async def close(self) -> None:
        """End the worker."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()

    async def _started(self) -> WorkerProcess:
        """Return a running worker, which may have nothing loaded."""
        if self._worker is not None and not self._worker.is_alive:
            dead, self._worker = self._worker, None
            await dead.close()
        if self._worker is None:
            self._worker = await WorkerProcess.start(self._log_path)
        return self._worker

    async def _configured(self, worker: WorkerProcess) -> None:
        """Make sure that a running worker has the current settings."""
        while self._has_settings is not worker:
            settings = self._settings
            await self._done(worker, Configure(next(self._ids), settings), Configured)
            # The settings may have changed during the request.
            self._has_settings = worker if settings is self._settings else None

    async def _with_base(self) -> WorkerProcess:
        """Return a running worker with the current base, perhaps without its stack."""
        worker = await self._started()
        await self._configured(worker)
        if self._spec is not None and self._has_base is not worker:
            await self._load(worker, self._spec, None)
            self._has_base = worker
        return worker

    async def _restored(self) -> WorkerProcess:
        """Return a running worker with the current base and stack."""
        async with self._starting:
            worker = await self._with_base()
            if self._spec is not None and self._has_stack is not worker:
                await self._set_stack(worker, self._stack)
                self._has_stack = worker
            return worker

    async def _load(
        self,
        worker: WorkerProcess,
        spec: LoadSpec,
        on_progress: Callable[[float], None] | None,
    ) -> BaseInfo:
        def report(event: Event) -> None:
            if isinstance(event, LoadProgress) and on_progress is not None:
                on_progress(event.fraction)

        loaded = await self._done(worker, Load(next(self._ids), spec), Loaded, report)
        return loaded.info

    async def _set_stack(self, worker: WorkerProcess, stack: AdapterStack) -> StackApplied:
        return await self._done(worker, SetStack(next(self._ids), stack), StackApplied)

    async def _done(
        self,
        worker: WorkerProcess,
        request: Load | Configure | SetStack,
        kind: type[_Last],
        on_event: Callable[[Event], None] = lambda _event: None,
    ) -> _Last:
        """Send a request and return its last event; pass the events before it to `on_event`."""
        async with contextlib.aclosing(self._ask(worker, request.request_id, request)) as events:
            async for event in events:
                if isinstance(event, kind):
                    return event
                on_event(event)
        raise WorkerError(f"The engine did not say {kind.__name__}.")

    async def _ask(
        self, worker: WorkerProcess, request_id: int, request: Request
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of a request; raise a Failed event as the error it names."""
        async with contextlib.aclosing(worker.ask(request_id, request)) as events:
            async for event in events:
                if isinstance(event, Failed):
                    raise _error_of(event)
                yield event


def _error_of(event: Failed) -> EngineError:
    kind = getattr(errors, event.kind, EngineError)
    is_engine_error = isinstance(kind, type) and issubclass(kind, EngineError)
    return (kind if is_engine_error else EngineError)(event.message)
