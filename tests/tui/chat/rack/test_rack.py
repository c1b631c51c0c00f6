"""The rack by its keys: what is switched, scaled, added, removed, and told to the engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Static

from engine.errors import AdapterError
from modelfiles.model import AdapterSpec, Model
from tests.support.chat import (
    begin,
    chat,
    ended,
    notices,
    ready,
    say,
    screen_text,
    tiny_model,
    wait_until,
)
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_models import write_adapter, write_base
from tui.chat.app import ChatApp
from tui.chat.prompt.prompt import Prompt
from tui.chat.rack.add_screen import AddAdapterScreen
from tui.chat.rack.rack import Rack


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal", "shout")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine([["Yes."]])


def scales(app: ChatApp) -> dict[str, tuple[float, bool]]:
    stack = app.chat.session.mix.stack
    return {e.adapter.name: (e.scale, e.is_active) for e in stack}


async def test_number_keys_switch_adapters_on_at_one_and_off_again(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "1", "3")
        await ready(app, pilot)
        assert scales(app) == {"pirate": (1, True), "formal": (0, False), "shout": (1, True)}
        await pilot.press("1")
        await ready(app, pilot)
        assert scales(app)["pirate"] == (1, False)
        await pilot.press("9")
        await pilot.pause()
        assert notices(app) == ["There is no adapter 9."]
    assert engine.stacks[-1].label == "shout 1.00"


async def test_arrows_select_and_rescale_in_exact_steps_within_the_range(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "down", *["right"] * 7, "shift+right")
        await ready(app, pilot)
        assert scales(app)["formal"] == (0.6, True)
        await pilot.press(*["shift+right"] * 9)
        await ready(app, pilot)
        assert scales(app)["formal"] == (2.0, True)
        await pilot.press("up", *["shift+left"] * 10, "right")
        await ready(app, pilot)
        assert scales(app)["pirate"] == (-1.95, True)
        assert engine.stacks[-1].label == "pirate -1.95 + formal 2.00"
        await pilot.press("z")
        await ready(app, pilot)
        assert scales(app)["pirate"] == (0.0, False)
        await pilot.press("o")
        await ready(app, pilot)
        assert scales(app)["pirate"] == (1.0, True)
        await pilot.press("0", "space")
        await ready(app, pilot)
        assert scales(app)["pirate"] == (1.0, True)


async def test_a_held_key_loses_no_step_and_asks_the_engine_once(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab")
        app.chat.apply_delay_s = 3600
        for _ in range(10):
            app.post_message(events.Key("right", None))
        await wait_until(pilot, lambda: scales(app)["pirate"][0] == 0.5, "all ten steps")
        assert (await say(app, pilot, "Hi")).label == "pirate 0.50"
    assert [stack.label for stack in engine.stacks] == ["base", "pirate 0.50"]


async def test_a_scale_can_be_typed_and_a_wrong_one_loses_nothing(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "enter", *"3.5", "enter")
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert notices(app) == ["A scale of 3.5 is out of range: it goes from -2 to 2."]
        assert app.chat.query_one("ScaleInput").value == "3.5"
        await pilot.press("backspace", "backspace", "backspace", *"x", "enter")
        await pilot.pause()
        assert notices(app)[-1] == "'x' is not a number: type a scale such as 0.7."
        await pilot.press("backspace", *"-0.35", "enter")
        await ready(app, pilot)
        assert scales(app)["pirate"] == (-0.35, True)
        assert not app.chat.query("ScaleInput")
        assert app.focused is app.chat.query_one(Rack)
        await pilot.press("enter", *"1", "escape")
        await ready(app, pilot)
        assert scales(app)["pirate"] == (-0.35, True)
        assert app.focused is app.chat.query_one(Rack)


async def test_bypass_lets_the_base_speak_and_restores_exactly(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "1", "down", "left")
        await ready(app, pilot)
        before = app.chat.session.mix
        await pilot.press("ctrl+b")
        await ready(app, pilot)
        assert "bypassed" in screen_text(app)
        assert engine.stacks[-1].active == ()
        answer = await say(app, pilot, "Hi")
        assert answer.label == "base (adapters bypassed)"
        await pilot.press("ctrl+b")
        await ready(app, pilot)
        assert app.chat.session.mix == before
        assert engine.stacks[-1] == before.stack
        assert "bypassed" not in screen_text(app).split("adapters", 1)[0]


async def test_a_change_while_an_answer_streams_waits_for_its_end(
    engine: ScriptedEngine, model: Model
) -> None:
    engine.answers, engine.gate = [["One ", "two"]], asyncio.Event()
    async with chat(engine, model) as (app, pilot):
        await begin(app, pilot, "Hi")
        await pilot.press("tab", "1", "right")
        await pilot.pause()
        assert notices(app) == ["Counts from the next answer. l applies it now."]
        assert "pirate" in screen_text(app)
        assert "1.05" in screen_text(app)
        assert [stack.label for stack in engine.stacks] == ["base"]
        engine.gate.set()
        answer = await ended(app, pilot)
        assert answer.label == "base"
        assert engine.stacks[-1].label == "pirate 1.05"
        assert (await say(app, pilot, "Again")).label == "pirate 1.05"


async def test_a_stack_that_the_engine_refuses_is_not_shown(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "2")
        await ready(app, pilot)
        engine.stack_error = AdapterError("pirate does not fit the base.")
        await pilot.press("1")
        await wait_until(pilot, lambda: notices(app), "a notice")
        await ready(app, pilot)
        assert notices(app) == ["pirate does not fit the base."]
        assert scales(app) == {"pirate": (0, False), "formal": (1, True), "shout": (0, False)}
        assert app.chat.query_one(Rack).mix == app.chat.session.mix
        engine.stack_error = None
        assert (await say(app, pilot, "Hi")).label == "formal 1.00"


async def test_an_adapter_is_removed_and_brought_back(engine: ScriptedEngine, model: Model) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "down", "o", "x")
        await ready(app, pilot)
        assert list(scales(app)) == ["pirate", "shout"]
        assert notices(app) == ["formal is removed: u brings it back."]
        await pilot.press("u")
        await ready(app, pilot)
        assert scales(app) == {"pirate": (0, False), "formal": (1, True), "shout": (0, False)}


async def test_the_details_of_the_selected_adapter_are_shown(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "down")
        shown = screen_text(app)
        assert "Is formal." in shown
        assert "rank 4 · alpha 8 · 14 tensors" in shown
        assert model.adapters[1].path.name in str(
            app.chat.query_one("#rack-details", Static).content
        )
        assert "0 of 3 on" in shown


async def test_an_empty_rack_says_how_to_fill_it(engine: ScriptedEngine, tmp_path: Path) -> None:
    async with chat(engine, tiny_model(tmp_path)) as (app, pilot):
        assert "Press + to add one by its path," in screen_text(app)
        await pilot.press("tab", "space", "ctrl+b")
        await pilot.pause()
        assert notices(app) == [
            "The rack is empty: + adds an adapter.",
            "No adapters to bypass.",
        ]


async def test_an_adapter_is_added_by_its_path(
    engine: ScriptedEngine, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "new.gguf", model.base, seed=9)
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "plus")
        await wait_until(pilot, lambda: isinstance(app.screen, AddAdapterScreen), "the dialog")
        app.screen.query_one("#path").value = "ne"
        await wait_until(pilot, lambda: "new.gguf" in screen_text(app), "a suggestion")
        await pilot.press("tab", "enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the dialog closes")
        await ready(app, pilot)
        assert scales(app)["new"] == (1.0, True)
        assert engine.stacks[-1].label == "new 1.00"
        assert app.chat.query_one(Rack).selected == 3


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("absent.gguf", "There is no file"),
        ("", "GGUF files; name one of them"),
        ("base.gguf", "is a model, not a LoRA adapter"),
        ("qwen.gguf", "qwen2"),
        ("cut.gguf", "cut.gguf"),
        ("garbage.gguf", "garbage.gguf"),
        ("pirate.gguf", "This adapter is in the rack already, as pirate."),
    ],
)
async def test_a_file_that_cannot_be_added_is_named_in_one_sentence(
    engine: ScriptedEngine, model: Model, tmp_path: Path, file: str, sentence: str
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    other = write_base(folder / "other.gguf", architecture="qwen2")
    write_adapter(tmp_path / "qwen.gguf", other)
    pirate = model.adapters[0].path.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(pirate[: len(pirate) // 2])
    (tmp_path / "garbage.gguf").write_bytes(b"hello" * 100)
    async with chat(engine, model, size=(160, 40)) as (app, pilot):
        await say(app, pilot, "Hi")
        before = app.chat.session.mix
        await pilot.press("tab", "a")
        await wait_until(pilot, lambda: isinstance(app.screen, AddAdapterScreen), "the dialog")
        app.screen.query_one("#path").value = str(tmp_path / file)
        await pilot.press("enter")
        problem = app.screen.query_one("#problem")

        def said() -> str:
            text = str(problem.content)
            return "" if "checking" in text else text

        await wait_until(pilot, said, "a sentence")
        assert sentence in said()
        assert "\n" not in said()
        await pilot.press("escape")
        await ready(app, pilot)
        assert app.chat.session.mix == before
        assert len(app.chat.session.conversation.entries) == 2


async def test_an_adapter_of_the_model_that_does_not_fit_is_left_out(
    engine: ScriptedEngine, model: Model, tmp_path: Path
) -> None:
    missing = AdapterSpec("gone", tmp_path / "gone.gguf", 1.0)
    model = replace(model, adapters=(missing, *model.adapters))
    async with chat(engine, model) as (app, pilot):
        assert list(scales(app)) == ["pirate", "formal", "shout"]
        assert notices(app)[0] == (
            f"{missing.path} does not exist: check the path. The adapter gone is left out."
        )
        assert (await say(app, pilot, "Hi")).text == "Yes."


async def test_clicks_select_and_switch(engine: ScriptedEngine, model: Model) -> None:
    async with chat(engine, model) as (app, pilot):
        rows = app.chat.query_one(Rack).rows
        await pilot.click(rows[1], offset=(8, 0))
        assert app.chat.query_one(Rack).selected == 1
        assert not scales(app)["formal"][1]
        await pilot.click(rows[2], offset=(3, 0))
        await ready(app, pilot)
        assert scales(app)["shout"] == (1.0, True)


async def test_esc_leads_from_the_rack_to_the_prompt(engine: ScriptedEngine, model: Model) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab")
        assert app.focused is app.chat.query_one(Rack)
        await pilot.press("escape")
        assert app.focused is app.chat.query_one(Prompt)


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
async def test_a_small_terminal_can_do_everything(
    engine: ScriptedEngine, model: Model, size: tuple[int, int]
) -> None:
    async with chat(engine, model, size=size) as (app, pilot):
        await say(app, pilot, "Hello")
        assert "Yes." in screen_text(app)
        await pilot.press("tab")
        await pilot.pause()
        assert "pirate" in screen_text(app)
        await pilot.press("1", "escape")
        await ready(app, pilot)
        assert (await say(app, pilot, "Hi")).label == "pirate 1.00"
        assert all(len(line) <= size[0] for line in screen_text(app).splitlines())
