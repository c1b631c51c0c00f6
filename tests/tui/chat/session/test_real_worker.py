"""The chat with the real worker process and llama.cpp on tiny random models."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import GenerationEvent, Tokens
from engine.worker.client import EngineClient
from modelfiles.model import Model
from modelfiles.parameters import Parameters
from tests.support.chat import (
    begin,
    burst,
    chat,
    ended,
    notices,
    ready,
    say,
    screen_text,
    tiny_model,
    wait_until,
)
from tui.chat.prompt.prompt import Prompt
from tui.conversation import AnswerState

LONG = Parameters(num_thread=1, num_ctx=32768, temperature=0.0, num_predict=-1, stop=())


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal")


async def test_adapters_change_the_answer_and_the_bypass_gives_the_base_back(model: Model) -> None:
    async with chat(EngineClient(), model) as (app, pilot):
        plain = await say(app, pilot, "Hi")
        assert plain.state is AnswerState.FINISHED
        await pilot.press("tab", "1", "escape", "ctrl+g")
        piratical = await ended(app, pilot)
        assert piratical.label == "pirate 1.00"
        assert piratical.text != plain.text
        await pilot.press("tab", "2", "escape", "ctrl+g")
        both = await ended(app, pilot)
        assert both.label == "pirate 1.00 + formal 1.00"
        assert both.text not in (plain.text, piratical.text)
        await pilot.press("ctrl+b")
        await ready(app, pilot)
        await pilot.press("ctrl+g")
        bypassed = await ended(app, pilot)
        assert bypassed.text == plain.text
        await pilot.press("ctrl+b")
        await ready(app, pilot)
        await pilot.press("ctrl+g")
        assert (await ended(app, pilot)).text == both.text


async def test_a_saved_chat_answers_as_the_one_it_was_saved_from(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))

    async def command(text: str, notice: str) -> None:
        app.chat.query_one(Prompt).put(text)
        await pilot.press("enter")
        await wait_until(pilot, lambda: notice in notices(app), f"the notice {notice!r}")
        await ready(app, pilot)

    hot = dataclasses.replace(model, parameters=Parameters(num_thread=1, num_ctx=512, seed=1))
    async with chat(EngineClient(), hot) as (app, pilot):
        await pilot.press("tab", "1", "left", "down", "2", "escape")
        await ready(app, pilot)
        await command("/set parameter num_predict 16", "Set parameter 'num_predict' to '16'.")
        await command("/set parameter temperature 0", "Set parameter 'temperature' to '0.0'.")
        said = await say(app, pilot, "Hi")
        assert said.label == "pirate 0.95 + formal 1.00"
        await command("/save mine", "Created new model 'mine'.")
        await pilot.press("ctrl+b")
        await ready(app, pilot)
        app.chat.query_one(Prompt).put("/load mine")
        await pilot.press("enter")
        session = app.chat.session
        await wait_until(
            pilot,
            lambda: session.model is not None and session.model.name == "mine:latest",
            "the saved model",
        )
        await ready(app, pilot)
        await pilot.press("ctrl+g")
        again = await ended(app, pilot)
        assert (again.author, again.label) == ("mine:latest", said.label)
        assert again.text == said.text


async def test_the_rack_tells_what_the_worker_measures_while_nothing_is_asked(
    model: Model,
) -> None:
    async with chat(EngineClient(), model) as (app, pilot):
        await pilot.press("tab", "1", "2")
        await wait_until(pilot, lambda: app.chat.session.stack_state.adapters, "the effects")
        await ready(app, pilot)
        assert re.search(r"effect [0-9.]+ nats · (fused|layered) · exact", screen_text(app))
        assert "14 of 14 tensors used" in screen_text(app)
        assert notices(app) == []
        await pilot.press("ctrl+b")
        await ready(app, pilot)
        assert "nats · " not in screen_text(app)


async def test_a_change_while_an_answer_is_written_is_heard_in_it(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, "pirate", parameters=LONG)
    async with chat(EngineClient(), model) as (app, pilot):
        await pilot.press("tab", "l")
        await wait_until(pilot, lambda: app.chat.session.settings.live, "live")
        await begin(app, pilot, "Hi")
        burst(app, "tab", "1")
        label = "base → pirate 1.00 · live, approximate"
        entries = app.chat.session.conversation.entries
        # Of the entry: on the screen a long answer has pushed its label out of sight.
        await wait_until(pilot, lambda: entries[-1].label == label, "the label")
        await pilot.press("escape", "escape")
        await ended(app, pilot)
        await pilot.press("ctrl+home")
        await wait_until(pilot, lambda: label in screen_text(app), "the label on the screen")
        await pilot.press("ctrl+end")
        await begin(app, pilot, "Again")
        burst(app, "escape")
        assert (await ended(app, pilot)).label == "pirate 1.00"


class MortalEngine(EngineClient):
    """Kills its worker as soon as the first answer has begun."""

    is_armed = True

    async def generate(self, request: ChatRequest) -> AsyncGenerator[GenerationEvent, None]:
        async for event in super().generate(request):
            if isinstance(event, Tokens) and self.is_armed and self.worker_pid is not None:
                self.is_armed = False
                os.kill(self.worker_pid, signal.SIGKILL)
            yield event


async def test_a_killed_worker_costs_one_answer(tmp_path: Path) -> None:
    engine = MortalEngine()
    model = tiny_model(tmp_path, "pirate", parameters=LONG)
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "1", "escape")
        await ready(app, pilot)
        failed = await say(app, pilot, "Hi")
        assert failed.state is AnswerState.FAILED
        assert failed.text
        assert failed.error.split()[0] in screen_text(app)
        await begin(app, pilot, "Again")
        burst(app, "escape")
        answer = await ended(app, pilot)
        assert answer.state is AnswerState.STOPPED
        assert answer.label == "pirate 1.00"
        assert answer.text
    assert engine.worker_pid is None
