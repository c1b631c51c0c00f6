"""The add dialog takes references of the Hub, and the names of what was pulled."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from modelfiles.model import Model
from modelfiles.references.pulled_adapters import PulledAdapters
from tests.support.chat import chat, ready, screen_text, wait_until
from tests.support.fake_hub import FakeHub
from tests.support.hub_screens import SlowFetch, added, leftovers
from tests.support.hub_shelf import LORA, SEVERAL, WRONG
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.app import ChatApp
from tui.chat.rack.add_screen import AddAdapterScreen
from tui.chat.rack.rack import Rack


async def typed(app: ChatApp, pilot: Pilot[int], text: str) -> None:
    app.chat.query_one(Rack).focus()
    await pilot.press("plus")
    await wait_until(pilot, lambda: isinstance(app.screen, AddAdapterScreen), "the dialog")
    app.screen.query_one("#path", Input).value = text
    await pilot.press("enter")


async def test_the_add_dialog_takes_a_reference_and_then_the_name_it_was_pulled_under(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await typed(app, pilot, f"hf.co/{LORA}")
        await wait_until(pilot, lambda: app.screen is app.chat, "the dialog closes")
        await ready(app, pilot)
        assert added(app) == ("tiny-sql-lora", 1.0, True)
        app.chat.query_one(Rack).focus()
        await pilot.press("x")
        await ready(app, pilot)
        assert len(app.chat.session.mix.stack) == 1
        hub.repos.clear()
        await typed(app, pilot, "Tiny-SQL-LoRA")
        await wait_until(pilot, lambda: app.screen is app.chat, "the dialog closes")
        await ready(app, pilot)
        assert added(app)[0] == "tiny-sql-lora"


async def test_escape_gives_a_download_of_the_add_dialog_up(
    engine: ScriptedEngine,
    model: Model,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = SlowFetch()
    monkeypatch.setattr("engine.hub.pull.adapter.fetch", slow)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await typed(app, pilot, f"hf.co/{LORA}")
        await wait_until(pilot, lambda: "of 34 KB" in screen_text(app), "progress")
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the dialog closes")
        slow.may_go_on.set()
        await wait_until(pilot, slow.has_ended.is_set, "the download ends")
        await ready(app, pilot)
        assert len(app.chat.session.mix.stack) == 1
        assert PulledAdapters(home).list() == []
        assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hf.co/nobody/nothing", "does not exist or is private"),
        ("hf.co/only-a-name", "is no repository of the Hugging Face Hub"),
        (f"hf.co/{SEVERAL}", "holds 2 adapters: name one behind a colon"),
        (f"hf.co/{WRONG}", "needs 64 x 64"),
        ("never-pulled", "There is no adapter"),
    ],
)
async def test_the_add_dialog_says_what_is_wrong_with_a_reference(
    engine: ScriptedEngine, model: Model, text: str, sentence: str
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await typed(app, pilot, text)
        problem = app.screen.query_one("#problem", Static)
        await wait_until(pilot, lambda: sentence in str(problem.content), sentence)
        assert len(app.chat.session.mix.stack) == 1
