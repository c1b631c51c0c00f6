"""The add dialog takes the folder of a PEFT adapter: converted, told, cancelled by Esc."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.adapters.conversion import convert as convert_module
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.conversion.placement.plan import Plan
from engine.adapters.foreign.source import LoraSource
from engine.gguf.header import GgufHeader
from modelfiles.model import Model
from tests.support.chat import chat, notices, ready, screen_text, tiny_model, wait_until
from tests.support.peft_folders import pair, write_peft
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_models import N_EMBD
from tui.chat.app import ChatApp
from tui.chat.rack.add_screen import AddAdapterScreen
from tui.chat.rack.rack import Rack
from tui.cli import main

MODULES = {
    f"model.layers.{layer}.self_attn.{name}_proj": pair(N_EMBD, N_EMBD, 4, seed=layer)
    for layer in range(2)
    for name in "qo"
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_peft(tmp_path / "My Style", MODULES, alpha=8, r=4)
    return tiny_model(tmp_path, "pirate")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine([["Yes."]])


async def typed(app: ChatApp, pilot: Pilot[int], text: str) -> None:
    """Open the dialog, type a path and press Enter."""
    app.chat.query_one(Rack).focus()
    await pilot.press("plus")
    await wait_until(pilot, lambda: isinstance(app.screen, AddAdapterScreen), "the dialog")
    app.screen.query_one("#path", Input).value = text
    await pilot.press("enter")


def cached(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "home" / "cache" / "converted").glob("*.gguf"))


async def test_the_dialog_says_what_it_takes(engine: ScriptedEngine, model: Model) -> None:
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "plus")
        await wait_until(pilot, lambda: isinstance(app.screen, AddAdapterScreen), "the dialog")
        assert "PEFT or MLX" in screen_text(app)
        app.screen.query_one("#path", Input).value = "My"
        await wait_until(pilot, lambda: "My Style/" in screen_text(app), "a suggestion")


async def test_a_folder_is_converted_and_added(
    engine: ScriptedEngine, model: Model, tmp_path: Path
) -> None:
    async with chat(engine, model) as (app, pilot):
        await typed(app, pilot, "My Style/")
        await wait_until(pilot, lambda: app.screen is app.chat, "the dialog closes")
        await ready(app, pilot)
        entry = app.chat.session.mix.stack.entries[-1]
        assert (entry.adapter.name, entry.scale, entry.is_active) == ("my-style", 1.0, True)
        assert [entry.adapter.file] == cached(tmp_path)
        assert notices(app) == [f"{tmp_path / 'My Style'} was converted for Tiny."]
        assert engine.stacks[-1].label == "my-style 1.00"


async def test_a_folder_is_not_added_twice(
    engine: ScriptedEngine, model: Model, tmp_path: Path
) -> None:
    async with chat(engine, model, size=(160, 40)) as (app, pilot):
        await typed(app, pilot, "My Style")
        await wait_until(pilot, lambda: app.screen is app.chat, "the dialog closes")
        await ready(app, pilot)
        await typed(app, pilot, str(tmp_path / "My Style"))
        await wait_until(pilot, lambda: "in the rack already" in screen_text(app), "a sentence")
        assert "as my-style." in screen_text(app)
        assert len(cached(tmp_path)) == 1


async def test_a_folder_that_cannot_be_converted_is_one_sentence(
    engine: ScriptedEngine, model: Model, tmp_path: Path
) -> None:
    write_peft(tmp_path / "dora", MODULES, alpha=8, r=4, config={"use_dora": True})
    *_, (last, (a, b)) = MODULES.items()
    broken = {**MODULES, last: (a, np.full_like(b, np.nan))}
    write_peft(tmp_path / "broken", broken, alpha=8, r=4)
    async with chat(engine, model, size=(160, 40)) as (app, pilot):
        before = app.chat.session.mix
        for folder, sentence in (("dora", "DoRA"), ("broken", "NaN or infinity")):
            await typed(app, pilot, folder)
            problem = app.screen.query_one("#problem", Static)
            await wait_until(pilot, lambda p=problem, s=sentence: s in str(p.content), sentence)
            assert "\n" not in str(problem.content)
            await pilot.pause(0.3)
            assert sentence in str(problem.content)  # the progress does not come back over it
            await pilot.press("escape")
            await ready(app, pilot)
        assert app.chat.session.mix == before
        assert cached(tmp_path) == []


async def test_escape_gives_a_conversion_up(
    engine: ScriptedEngine, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second pair waits until the dialog is closed."""
    reached, may_go_on = threading.Event(), threading.Event()

    def slow_plan(
        source: LoraSource, base: GgufHeader, config: Mapping[str, Any] | None = None
    ) -> Plan:
        plan = make_plan(source, base, config)
        second = plan.pairs[1]

        def build(factors: Sequence[float]) -> Any:
            reached.set()
            assert may_go_on.wait(60)
            return second.build(factors)

        pairs = (plan.pairs[0], replace(second, build=build), *plan.pairs[2:])
        return Plan(pairs, plan.notices)

    monkeypatch.setattr(convert_module, "make_plan", slow_plan)
    async with chat(engine, model) as (app, pilot):
        before = app.chat.session.mix
        await typed(app, pilot, "My Style")
        await wait_until(pilot, lambda: "converting… 25%" in screen_text(app), "progress")
        assert reached.is_set()
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the dialog closes")
        may_go_on.set()
        staging = tmp_path / "home" / "cache" / "converted" / "staging"
        await wait_until(pilot, lambda: not list(staging.iterdir()), "the conversion ends")
        await ready(app, pilot)
        assert app.chat.session.mix == before
        assert cached(tmp_path) == []
        assert notices(app) == []


async def test_what_was_converted_before_the_chat_opens_is_said_in_it(
    engine: ScriptedEngine, model: Model
) -> None:
    app = ChatApp(engine, model, notes=["my-style was converted for Tiny."])
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot)
        assert notices(app) == ["my-style was converted for Tiny."]


def test_run_tells_the_chat_what_it_converted(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[tuple[Model, list[str]]] = []
    screens = SimpleNamespace(run_chat=lambda *given: opened.append(given) or 0)
    monkeypatch.setitem(sys.modules, "tui.chat.app", screens)
    Path("Modelfile").write_text("FROM ./base.gguf")
    assert main(["create", "tiny"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["run", "tiny", "--lora", "My Style"]) == 0
    ((shown, told),) = opened
    assert [spec.name for spec in shown.adapters] == ["My-Style"]
    assert told == [f"{tmp_path / 'My Style'} was converted for Tiny."]
    assert capsys.readouterr().err == ""
