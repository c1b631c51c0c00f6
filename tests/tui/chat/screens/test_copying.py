"""Copying answers and selections, and the other ways out of the chat."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.model import Model
from tests.support.chat import chat, notices, say, tiny_model, wait_until
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.prompt.prompt import Prompt
from tui.chat.screens import copying
from tui.chat.themes import DARK, LIGHT, theme_for


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path)


@pytest.fixture
def no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "copy_with_tool", lambda text: None)


@pytest.mark.usefixtures("no_tool")
async def test_without_a_tool_the_answer_goes_through_the_terminal(model: Model) -> None:
    async with chat(ScriptedEngine([["**Yes**."]]), model) as (app, pilot):
        await pilot.press("ctrl+y")
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert notices(app) == ["No answer to copy yet."]
        await say(app, pilot, "Hi")
        await pilot.press("ctrl+y")
        await wait_until(pilot, lambda: len(notices(app)) == 2, "a notice")
        assert app.clipboard == "**Yes**."
        assert "OSC 52" in notices(app)[-1]


async def test_a_clipboard_tool_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(copying, "copy_with_tool", lambda text: copied.append(text) or "wl-copy")
    async with chat(ScriptedEngine([["Yes."]]), model) as (app, pilot):
        await say(app, pilot, "Hi")
        await pilot.press("ctrl+y")
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert notices(app) == ["The answer is copied with wl-copy."]
    assert copied == ["Yes."]


@pytest.mark.usefixtures("no_tool")
async def test_ctrl_c_copies_what_is_selected_and_does_not_quit(model: Model) -> None:
    async with chat(ScriptedEngine([["Yes."]]), model) as (app, pilot):
        app.chat.query_one(Prompt).text = "some words"
        app.chat.query_one(Prompt).select_all()
        for _ in range(2):
            await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: len(notices(app)) == 2, "two notices")
        assert app.clipboard == "some words"
        assert app.is_running


def test_the_theme_follows_the_terminal() -> None:
    assert theme_for({}) is DARK
    assert theme_for({"COLORFGBG": "15;0"}) is DARK
    assert theme_for({"COLORFGBG": "0;15"}) is LIGHT
