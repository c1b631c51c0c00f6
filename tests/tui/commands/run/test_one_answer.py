"""How one answer runs against the engine seam, with an engine that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import BaseError
from engine.protocol.values import BaseReference
from engine.stack import AdapterStack
from modelfiles.model import Message, Model
from modelfiles.parameters import Parameters
from tests.support.scripted_engine import BASE, ScriptedEngine
from tui.commands.run.one_answer import Answer, answer, request_of

MODEL = Model(
    "tiny:latest", Path("/base.gguf"), parameters=Parameters(seed=1), template="{{ .Prompt }}"
)


async def ask(
    engine: ScriptedEngine,
    on_text: Callable[[str], None],
    on_progress: Callable[[str, float], None] = lambda title, fraction: None,
) -> Answer:
    return await answer(
        engine,
        MODEL,
        AdapterStack(),
        request_of(MODEL, "Hello"),
        on_text=on_text,
        on_progress=on_progress,
    )


def test_the_model_is_sent_its_system_message_then_its_history_then_the_prompt() -> None:
    history = (Message("user", "Hi"), Message("assistant", "Ho"))
    model = Model("tiny:latest", Path("/base.gguf"), system="Be brief.", messages=history)
    sent = [(message.role, message.content) for message in request_of(model, "Go on").messages]
    assert sent == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Ho"),
        ("user", "Go on"),
    ]


async def test_an_answer_comes_in_pieces_and_the_engine_is_closed() -> None:
    engine = ScriptedEngine([["One", " two"]])
    pieces: list[str] = []
    stages: list[tuple[str, float]] = []
    given = await ask(engine, pieces.append, lambda *stage: stages.append(stage))
    assert pieces == ["One", " two"]
    assert stages == [("loading tiny:latest", 0.5), ("reading the prompt", 1.0)]
    assert (given.finished.text, given.info, len(given.stack)) == ("One two", BASE, 0)
    assert engine.requests == [request_of(MODEL, "Hello")]
    assert engine.requests[0].template == "{{ .Prompt }}"
    assert [(spec.base, spec.parameters.seed) for spec in engine.loads] == [
        (BaseReference("/base.gguf", "tiny:latest"), 1)
    ]
    assert engine.is_closed


async def test_thoughts_are_told_apart_from_the_answer() -> None:
    engine = ScriptedEngine([["Yes."]], thoughts=["Hm, ", "well."])
    pieces: list[str] = []
    thoughts: list[str] = []
    given = await answer(
        engine,
        MODEL,
        AdapterStack(),
        request_of(MODEL, "Hello", thinks=True),
        on_text=pieces.append,
        on_progress=lambda title, fraction: None,
        on_thought=thoughts.append,
    )
    assert (pieces, thoughts) == (["Yes."], ["Hm, ", "well."])
    assert (given.finished.text, given.finished.thinking) == ("Yes.", "Hm, well.")
    assert [request.thinks for request in engine.requests] == [True]


async def test_cancelling_an_answer_keeps_its_beginning() -> None:
    engine = ScriptedEngine([["One", " two"]], gate=asyncio.Event())
    has_begun = asyncio.Event()
    pieces: list[str] = []

    def show(text: str) -> None:
        pieces.append(text)
        has_begun.set()

    task = asyncio.create_task(ask(engine, show))
    await has_begun.wait()
    task.cancel()
    given = await task
    assert pieces == ["One"]
    assert (given.finished.reason, given.finished.text) == ("cancelled", "One")
    assert engine.is_closed


async def test_cancelling_while_the_base_loads_closes_the_engine() -> None:
    engine = ScriptedEngine([["One"]], load_gate=asyncio.Event())
    is_loading = asyncio.Event()
    task = asyncio.create_task(ask(engine, print, lambda title, fraction: is_loading.set()))
    await is_loading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.is_closed


async def test_an_error_while_loading_closes_the_engine() -> None:
    engine = ScriptedEngine(load_error=BaseError("The base is gone."))
    with pytest.raises(BaseError, match="gone"):
        await ask(engine, print)
    assert engine.is_closed


async def test_a_failed_answer_is_returned_with_its_beginning() -> None:
    given = await ask(ScriptedEngine([["One"]], crash="The engine was stopped."), lambda text: None)
    assert (given.finished.reason, given.finished.text) == ("failed", "One")
    assert given.finished.error == "The engine was stopped."


async def test_a_reader_that_goes_away_closes_the_engine() -> None:
    def refuse(_: str) -> None:
        raise BrokenPipeError

    engine = ScriptedEngine([["One"]])
    with pytest.raises(BrokenPipeError):
        await ask(engine, refuse)
    assert engine.is_closed
