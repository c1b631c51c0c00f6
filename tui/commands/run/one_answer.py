"""Produce one answer without a screen: load, apply the stack, generate, close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from engine.protocol.chat_request import ChatRequest
from engine.protocol.engine import Engine
from engine.protocol.events import Finished, GenerationEvent, PromptProgress, Tokens
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseInfo, BaseReference, ChatMessage, LoadSpec
from engine.stack import AdapterStack
from modelfiles.model import Model
from tui.conversation import Conversation


def ignore(_piece: str) -> None:
    """Discard a piece of a thought that is not shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its statistics; `finished.reason` says how it ended."""

    info: BaseInfo
    finished: Finished
    stack: AdapterStack
    has_template: bool = True
    """Whether the prompt needed no chat template of the base."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user, on the base and on the answer."""
        base = self.info.notices_for(has_template=self.has_template)
        return (*base, *self.finished.notices)


def request_of(model: Model, prompt: str, thinks: bool | None = None) -> ChatRequest:
    """Return what the model is asked: its system message, its history, then the prompt."""
    conversation = Conversation()
    conversation.restart(model.system, model.messages)
    conversation.ask(prompt)
    return ChatRequest(conversation.prompt(), model.parameters, model.template, thinks)


def raw_request_of(model: Model, prompt: str) -> ChatRequest:
    """Return a text for the model to complete as it is."""
    return ChatRequest((ChatMessage("user", prompt),), model.parameters, is_raw=True)


async def answer(
    engine: Engine,
    model: Model,
    stack: AdapterStack,
    request: ChatRequest,
    *,
    on_text: Callable[[str], None],
    on_progress: Callable[[str, float], None],
    on_thought: Callable[[str], None] = ignore,
    settings: EngineSettings = EngineSettings(),  # noqa: B008  # immutable
) -> Answer:
    """Answer `request` and close the engine, whatever happens; raise `EngineError` on failure.

    `on_text` gets the answer piece by piece, `on_progress` the current step before it and its
    fraction (0 to 1), `on_thought` what a reasoning model thinks before it answers. `settings` are
    the engine's.

    Cancelling the task, which is what Ctrl+C does, stops the generation and returns the answer so
    far, with the reason `cancelled`; while loading it raises `CancelledError`.
    """
    try:
        await engine.configure(settings)
        info = await engine.load(
            LoadSpec(BaseReference.of(model), model.parameters),
            lambda fraction: on_progress(f"loading {model.name}", fraction),
        )
        await engine.set_stack(stack)
        events = engine.generate(request)
        task = asyncio.create_task(_follow(events, on_text, on_progress, on_thought))
        try:
            finished = await asyncio.shield(task)
        except asyncio.CancelledError:
            await engine.cancel()
            finished = await task
        return Answer(info, finished, stack, request.is_raw or bool(request.template))
    finally:
        await engine.close()


async def _follow(
    events: AsyncIterator[GenerationEvent],
    on_text: Callable[[str], None],
    on_progress: Callable[[str, float], None],
    on_thought: Callable[[str], None],
) -> Finished:
    async for event in events:
        if isinstance(event, Tokens):
            if event.thinking:
                on_thought(event.thinking)
            if event.text:
                on_text(event.text)
        elif isinstance(event, PromptProgress):
            on_progress("reading the prompt", event.n_done / max(event.n_total, 1))
        elif isinstance(event, Finished):
            return event
    raise AssertionError("an engine ends every generation with Finished")
