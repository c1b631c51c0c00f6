"""From the Hub into the rack: asked first, pulled, converted, measured, cancelled by Esc."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.protocol.engine import Engine
from engine.worker.client import EngineClient
from modelfiles.model import Model
from modelfiles.references.pulled_adapters import PulledAdapters
from tests.support.chat import begin, chat, ended, notices, ready, say, screen_text, wait_until
from tests.support.fake_hub import FakeHub, Weather
from tests.support.hub_screens import SlowFetch, added, leftovers, line, looked_at
from tests.support.hub_shelf import LORA, PEFT
from tests.support.scripted_engine import ScriptedEngine


async def test_the_size_is_asked_first_and_an_adapter_goes_into_the_rack_at_one(
    engine: ScriptedEngine, model: Model, home: Path, tmp_path: Path
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await say(app, pilot, "Hi")
        screen = await looked_at(app, pilot, LORA)
        await pilot.press("enter")
        assert line(screen, "doing").startswith("Pull 34 KB and put it into the rack?")
        assert app.screen is screen
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await ready(app, pilot)
        assert added(app) == ("tiny-sql-lora", 1.0, True)
        assert engine.stacks[-1].label == "tiny-sql-lora 1.00"
        assert app.chat.session.conversation.entries[-1].text == "Yes indeed."
        (record,) = PulledAdapters(home).list()
        assert record.repo == LORA
        assert app.chat.session.mix.stack.entries[-1].adapter.file == Path(record.path)
        assert leftovers(tmp_path) == []


async def test_a_peft_folder_is_converted_on_the_way(
    engine: ScriptedEngine, model: Model, home: Path
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, PEFT)
        assert line(screen, "verdict") == "✓ fits Tiny"
        await pilot.press("enter")
        assert ", convert it and put it into the rack?" in line(screen, "doing")
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await ready(app, pilot)
        assert added(app) == ("tiny-style", 1.0, True)
        assert notices(app) == [f"hf.co/{PEFT} was converted for Tiny."]
        file = app.chat.session.mix.stack.entries[-1].adapter.file
        assert file.parent == home / "cache" / "converted"


async def test_the_effect_of_a_pulled_adapter_is_measured_by_the_real_worker(
    model: Model, hub: FakeHub
) -> None:
    real: Engine = EngineClient()
    async with chat(real, model, (100, 30)) as (app, pilot):
        before = await say(app, pilot, "Hi")
        await looked_at(app, pilot, LORA)
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await ready(app, pilot)

        def is_measured() -> bool:
            state = app.chat.session.stack_state
            return app.chat.session.mix.stack.entries[-1].adapter.sha256 in state.adapters

        await wait_until(pilot, is_measured, "the effect")
        after = await say(app, pilot, "Hi")
        assert before.text != after.text


async def test_an_adapter_that_is_in_the_rack_is_not_added_twice(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await looked_at(app, pilot, LORA)
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await ready(app, pilot)
        screen = await looked_at(app, pilot, LORA)
        await pilot.press("enter")
        assert line(screen, "doing").startswith("It is on this machine already: put it into the")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "in the rack already" in line(screen, "verdict"), "words")
        assert len(app.chat.session.mix.stack) == 2


async def test_escape_cancels_a_download_and_leaves_nothing(
    engine: ScriptedEngine,
    model: Model,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowFetch()
    monkeypatch.setattr("engine.hub.pull.adapter.fetch", slow)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, LORA)
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: "25%" in line(screen, "doing"), "progress")
        assert slow.is_reached.is_set()
        assert " of 34 KB" in line(screen, "doing")
        assert "Esc cancels" in screen_text(app)
        await pilot.press("escape")
        assert app.screen is screen
        assert line(screen, "doing") == ""
        slow.may_go_on.set()
        await wait_until(pilot, slow.has_ended.is_set, "the download ends")
        await pilot.press("escape", "escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await ready(app, pilot)
        assert len(app.chat.session.mix.stack) == 1
        assert PulledAdapters(home).list() == []
        assert leftovers(tmp_path) == []
        assert not list((tmp_path / "cache").rglob("lora.gguf"))


async def test_a_download_that_breaks_is_told_and_can_be_tried_again(
    engine: ScriptedEngine, model: Model, hub: FakeHub, tmp_path: Path
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, LORA)
        hub.weather.append(Weather("GET /ann/.*lora.gguf", status=500, body=b"{}"))
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: "answered 500" in line(screen, "verdict"), "a sentence")
        assert leftovers(tmp_path) == []
        hub.weather.clear()
        await pilot.press("enter")
        assert line(screen, "verdict") == "✓ fits Tiny"
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await ready(app, pilot)
        assert added(app)[0] == "tiny-sql-lora"


async def test_pulled_while_an_answer_is_written_it_waits_for_the_next_one(
    model: Model,
) -> None:
    gate = asyncio.Event()
    engine = ScriptedEngine([["Yes", " indeed."]], gate=gate)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await begin(app, pilot, "Hi")
        await looked_at(app, pilot, LORA)
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await wait_until(pilot, lambda: len(app.chat.session.mix.stack) == 2, "the rack")
        assert notices(app) == ["Counts from the next answer. l applies it now."]
        assert all(len(stack) < 2 for stack in engine.stacks)
        gate.set()
        assert (await ended(app, pilot)).text == "Yes indeed."
        assert engine.stacks[-1].label == "tiny-sql-lora 1.00"


async def test_leaving_the_program_does_not_wait_for_the_network(
    engine: ScriptedEngine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowFetch()
    monkeypatch.setattr("engine.hub.pull.adapter.fetch", slow)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await looked_at(app, pilot, LORA)
        await pilot.press("enter", "enter")
        await wait_until(pilot, slow.is_reached.is_set, "the download")
    assert not slow.has_ended.is_set()
    slow.may_go_on.set()
    assert slow.has_ended.wait(60)
