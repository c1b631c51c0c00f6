"""A scripted engine, for timings and errors that a real engine only produces by chance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from engine.adapters.inspection.base_norms import BaseNorms
from engine.errors import EngineError
from engine.gguf.base_facts import BaseFacts, base_facts
from engine.gguf.model_header import require_base
from engine.hub.search.base_names import identity_of
from engine.protocol.capabilities import Capabilities
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import (
    Finished,
    GenerationEvent,
    PromptProgress,
    Settled,
    SettleEvent,
    StackApplied,
    Tokens,
)
from engine.protocol.requests import Settle
from engine.protocol.settings import EngineSettings
from engine.protocol.values import (
    BaseInfo,
    ChatMessage,
    FinishReason,
    Form,
    GenerationStats,
    LoadSpec,
)
from engine.stack import AdapterStack
from engine.worker.adapter_files import AdapterFiles, new_base_norms
from modelfiles.model import Model

BASE = BaseInfo(
    facts=BaseFacts(
        name="scripted",
        architecture="llama",
        n_params=2_800_000,
        size_bytes=3_000_000,
        context_length=4096,
        embedding_length=64,
        quantization="Q8_0",
        chat_template=None,
    ),
    description="llama 3M Q8_0",
    n_ctx=4096,
    n_threads=1,
    load_s=0.1,
)


@dataclass(slots=True)
class ScriptedEngine:
    """An engine that answers with given texts; `gate` pauses generation after the first piece."""

    answers: list[Sequence[str]] = field(default_factory=list)
    """Pieces of each answer in order; the last answer repeats."""
    thoughts: Sequence[str] = ()
    """Pieces of the thoughts before every answer."""
    gate: asyncio.Event | None = None
    thought_gate: asyncio.Event | None = None
    """Pauses generation after each piece of thoughts."""
    load_gate: asyncio.Event | None = None
    load_error: EngineError | None = None
    stack_error: EngineError | None = None
    generate_error: EngineError | None = None
    crash: str = ""
    """If set, every answer fails with this sentence after its pieces."""
    notices: tuple[str, ...] = ()
    base: BaseInfo = BASE
    """What `load` returns, with what the file says of itself where there is one."""
    capabilities: Capabilities = Capabilities()  # noqa: RUF009  # immutable
    norms: BaseNorms = field(default_factory=new_base_norms)
    """Norms of the base's weights that inspections have read."""
    loads: list[LoadSpec] = field(default_factory=list)
    stacks: list[AdapterStack] = field(default_factory=list)
    requests: list[ChatRequest] = field(default_factory=list)
    """What `generate` was asked, oldest first."""
    settings: list[EngineSettings] = field(default_factory=list)
    configure_error: EngineError | None = None
    settle_events: tuple[SettleEvent, ...] = ()
    """Events that every `settle` yields."""
    settle_gate: asyncio.Event | None = None
    """Pauses every `settle` after its events."""
    settle_error: EngineError | None = None
    settles: list[Settle] = field(default_factory=list)
    """The requests to `settle`, oldest first."""
    n_settling: int = 0
    """Number of running `settle` calls; more than one is an error of the caller."""
    n_stopped_settling: int = 0
    """Number of `settle` calls, ended early or not, whose cleanup was not interrupted."""
    n_settled: int = 0
    """Number of `settle` calls that ran to their end."""
    swap_s: float = 0.0
    form: Form = "none"
    """Form of every stack applied, and of every answer."""
    is_approximate: bool = False
    """Whether every answer is marked as approximate."""
    is_closed: bool = False
    _cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def prompts(self) -> list[tuple[ChatMessage, ...]]:
        """The messages of each request to `generate`, oldest first."""
        return [request.messages for request in self.requests]

    async def load(
        self, spec: LoadSpec, on_progress: Callable[[float], None] | None = None
    ) -> BaseInfo:
        if on_progress is not None:
            on_progress(0.5)
        if self.load_gate is not None:
            await self.load_gate.wait()
        if self.load_error is not None:
            raise self.load_error
        self.loads.append(spec)
        file = Path(spec.base.path)
        if not file.exists():
            return self.base
        header = require_base(file)
        names = identity_of(header).repositories
        return replace(self.base, facts=base_facts(header), repositories=names)

    def adapters(self, model: Model) -> AdapterFiles:
        return AdapterFiles(model, self.norms)

    async def configure(self, settings: EngineSettings) -> None:
        await asyncio.sleep(0)
        if self.configure_error is not None:
            raise self.configure_error
        self.settings.append(settings)

    async def set_stack(self, stack: AdapterStack) -> StackApplied:
        if self.stack_error is not None:
            raise self.stack_error
        assert self.n_settling == 0, "a stack was set while something is being made ready"
        self.stacks.append(stack)
        return StackApplied(0, stack.digest, self.swap_s, self.form)

    async def settle(
        self, request: ChatRequest, delay_s: float = 0.0
    ) -> AsyncIterator[SettleEvent]:
        assert self.n_settling == 0, "two things are made ready at once"
        self.settles.append(Settle(0, request, delay_s))
        self.n_settling += 1
        try:
            await asyncio.sleep(0)
            for event in self.settle_events:
                yield event
            if self.settle_error is not None:
                raise self.settle_error
            if self.settle_gate is not None:
                await self.settle_gate.wait()
            self.n_settled += 1
            yield Settled(0, is_complete=True)
        finally:
            # As with a worker, it takes a moment until it is over.
            try:
                await asyncio.sleep(0)
                self.n_stopped_settling += 1
            finally:
                self.n_settling -= 1

    async def generate(self, request: ChatRequest) -> AsyncIterator[GenerationEvent]:
        assert self.n_settling == 0, "an answer was asked while something is being made ready"
        self.requests.append(request)
        if self.generate_error is not None:
            raise self.generate_error
        self._cancelled.clear()
        pieces = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(0)
        yield PromptProgress(1, 12, 12, 0)
        text, reason = "", "stop"
        for thought in self.thoughts:
            yield Tokens(1, "", 1, thought)
            if self.thought_gate is not None:
                await self._held(self.thought_gate)
            await asyncio.sleep(0)
        for piece in pieces:
            if text and self.gate is not None:
                await self._held(self.gate)
            if self._cancelled.is_set():
                reason = "cancelled"
                break
            text += piece
            yield Tokens(1, piece, 1)
            await asyncio.sleep(0)
        yield self._finished(text, "failed" if self.crash else reason)

    async def cancel(self) -> None:
        self._cancelled.set()

    async def close(self) -> None:
        self.is_closed = True

    async def _held(self, gate: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(e.wait()) for e in (gate, self._cancelled)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _finished(self, text: str, reason: FinishReason | str) -> Finished:
        stats = GenerationStats(
            n_prompt=12,
            n_reused=0,
            n_decoded=20,
            prefill_s=0.1,
            decode_s=0.5,
            n_ctx=4096,
            n_thought=len(self.thoughts),
            form=self.form,
            is_approximate=self.is_approximate,
        )
        thinking = "".join(self.thoughts)
        return Finished(1, reason, text, stats, self.notices, self.crash, thinking)
