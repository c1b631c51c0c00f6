"""Choosing a model: a swap where the base is the same, a load where it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.errors import BaseError
from modelfiles.errors import ModelNotFoundError
from modelfiles.model import AdapterSpec, ListedModel, Model
from modelfiles.parameters import Parameters
from tests.support.chat import chat, notices, ready, say, screen_text, tiny_model, wait_until
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_models import write_base
from tui.chat.app import ChatApp
from tui.chat.screens.models import ModelsScreen


@dataclass(slots=True)
class Shelf:
    """A library of the models given."""

    models: dict[str, Model]
    broken: str = ""

    def list(self) -> list[ListedModel]:
        return [
            ListedModel(name, "0" * 12, 1_000_000, datetime(2026, 1, 1, tzinfo=UTC), "created", 2)
            for name in (*self.models, *([self.broken] if self.broken else ()))
        ]

    def get(self, name: str) -> Model:
        if name not in self.models:
            raise ModelNotFoundError(f"{name} has lost its base.")
        return self.models[name]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    first = tiny_model(tmp_path, "pirate", "formal", name="first:latest")
    pirate = first.adapters[0]
    second = replace(
        first,
        name="second:latest",
        adapters=(AdapterSpec("pirate", pirate.path, 0.5),),
        parameters=replace_parameters(first.parameters),
        system="Be a pirate.",
    )
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    third = replace(
        first, name="third:latest", base=write_base(other_folder / "b.gguf"), adapters=()
    )
    models = {model.name: model for model in (first, second, third)}
    shelf = Shelf(models, broken="lost:latest")
    monkeypatch.setattr("modelfiles.library.open_library", lambda: shelf)
    return shelf


def replace_parameters(parameters: Parameters) -> Parameters:
    return Parameters(temperature=1.0).over(parameters)


async def choose(app: ChatApp, pilot: Pilot[int], shelf: Shelf, name: str) -> None:
    app.chat.action_models()
    await wait_until(pilot, lambda: "lost:latest" in screen_text(app), "the list")
    app.screen.query_one("#model-list").highlighted = [*shelf.models, "lost:latest"].index(name)
    await pilot.press("enter")


async def test_a_model_on_the_same_base_is_a_swap(shelf: Shelf) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, shelf.models["first:latest"]) as (app, pilot):
        await say(app, pilot, "Hi")
        await choose(app, pilot, shelf, "second:latest")
        await wait_until(pilot, lambda: app.screen is app.chat, "the list closes")
        await wait_until(pilot, lambda: "second:latest" in screen_text(app), "the title")
        answer = await say(app, pilot, "And now?")
        assert (answer.author, answer.label) == ("second:latest", "pirate 0.50")
    assert len(engine.loads) == 1
    assert [m.content for m in engine.prompts[1]] == ["Be a pirate.", "Hi", "Yes.", "And now?"]


async def test_a_model_on_another_base_is_loaded(shelf: Shelf) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, shelf.models["first:latest"]) as (app, pilot):
        await choose(app, pilot, shelf, "third:latest")
        await wait_until(pilot, lambda: "third:latest ·" in screen_text(app), "the title")
        await ready(app, pilot)
        assert "Press + to add one by its path," in screen_text(app)
    assert [load.base.path for load in engine.loads] == [
        str(shelf.models[name].base) for name in ("first:latest", "third:latest")
    ]


async def test_a_model_that_cannot_be_loaded_leaves_the_old_one(shelf: Shelf) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, shelf.models["first:latest"]) as (app, pilot):
        await say(app, pilot, "Hi")
        engine.load_error = BaseError("It does not fit in memory.")
        await choose(app, pilot, shelf, "third:latest")
        await wait_until(pilot, lambda: notices(app), "a notice")
        await ready(app, pilot)
        assert notices(app) == ["It does not fit in memory."]
        assert "first:latest ·" in screen_text(app)
        assert (await say(app, pilot, "Still there?")).author == "first:latest"


async def test_a_model_that_cannot_be_read_is_explained_in_the_list(shelf: Shelf) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, shelf.models["first:latest"]) as (app, pilot):
        await choose(app, pilot, shelf, "lost:latest")
        await wait_until(pilot, lambda: "has lost its base." in screen_text(app), "a sentence")
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the list closes")


async def test_without_a_model_the_chat_begins_with_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path))
    async with chat(ScriptedEngine([["x"]]), None, is_loaded=False) as (app, pilot):
        await wait_until(pilot, lambda: isinstance(app.screen, ModelsScreen), "the list")
        await wait_until(pilot, lambda: "demo:latest" in screen_text(app), "the demo")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "no model loaded" in screen_text(app), "the chat")
