"""The chat with the real worker process and llama.cpp on tiny random models."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from engine.client import EngineClient
from engine.protocol import ChatMessage, GenerationEvent, Tokens
from modelfiles.model import Model
from modelfiles.parameters import Parameters
from tests.support.chat import chat, ended, ready, say, screen_text, tiny_model
from tui.conversation import AnswerState

LONG = Parameters(num_thread=1, num_ctx=2048, temperature=0.0, num_predict=-1, stop=())


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


class MortalEngine(EngineClient):
    """Kills its worker as soon as the first answer has begun."""

    is_armed = True

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        parameters: Parameters,
        template: str | None = None,
        thinks: bool | None = None,
    ) -> AsyncGenerator[GenerationEvent, None]:
        async for event in super().generate(messages, parameters, template, thinks):
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
        answer = await say(app, pilot, "Again")
        assert answer.state is AnswerState.FINISHED
        assert answer.label == "pirate 1.00"
        assert answer.text
    assert engine.worker_pid is None
