"""F1 shows the keys, first those of where one is, and leads to the pages of the manual."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from modelfiles.model import Model
from tests.support.chat import chat, screen_text, tiny_model, wait_until
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.app import ChatApp
from tui.chat.keys.key import Place
from tui.chat.screens.help import HelpScreen
from tui.chat.screens.manual import ManualPageScreen, ManualScreen
from tui.manual import topics


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "loud")


async def shown(app: ChatApp, pilot: Pilot[int], text: str) -> str:
    """Wait until a text is on the screen, and return all that is."""
    await wait_until(pilot, lambda: text in screen_text(app), text)
    return screen_text(app)


async def open_manual(app: ChatApp, pilot: Pilot[int]) -> None:
    await pilot.press("f1", "m")
    await wait_until(pilot, lambda: isinstance(app.screen, ManualScreen), "the manual")
    await shown(app, pilot, topics()[0].summary)


async def test_f1_in_the_prompt_shows_the_keys_that_work_everywhere(model: Model) -> None:
    async with chat(ScriptedEngine([]), model, (80, 24)) as (app, pilot):
        await pilot.press("f1")
        text = await shown(app, pilot, "bypass all adapters")
        assert Place.RACK.value not in text
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")


@pytest.mark.parametrize("key", ["f1", "question_mark"])
@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_from_the_rack_the_keys_of_the_rack_come_first(
    model: Model, key: str, size: tuple[int, int]
) -> None:
    async with chat(ScriptedEngine([]), model, size) as (app, pilot):
        await pilot.press("tab", key)
        await shown(app, pilot, "switch adapter n on or off")
        assert isinstance(app.screen, HelpScreen)

        def begins_with_the_rack() -> bool:
            lines = screen_text(app).splitlines()
            shown = [line for line in lines if "│" in line and line.strip("│ ┃▁█")]
            return any(Place.RACK.value in line for line in shown[:4])

        # The keys may be drawn before they are scrolled to.
        await wait_until(pilot, begins_with_the_rack, "the rack's keys at the top")
        assert Place.CHAT.value not in screen_text(app)


async def test_m_lists_every_page_with_what_it_is_about(model: Model) -> None:
    async with chat(ScriptedEngine([]), model) as (app, pilot):
        await open_manual(app, pilot)
        text = screen_text(app)
        for page in topics():
            assert f"{page.topic} " in text
            assert page.summary in text


async def test_on_80_columns_no_line_of_the_list_is_cut(model: Model) -> None:
    async with chat(ScriptedEngine([]), model, (80, 24)) as (app, pilot):
        await open_manual(app, pilot)
        text = screen_text(app)
        assert all(page.summary in text for page in topics())


async def test_enter_opens_a_page_and_esc_leads_back_step_by_step(model: Model) -> None:
    async with chat(ScriptedEngine([]), model) as (app, pilot):
        await open_manual(app, pilot)
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: isinstance(app.screen, ManualPageScreen), "the page")
        text = await shown(app, pilot, "tui create captain -f Modelfile")
        assert "Modelfile and parameters" in text
        assert "<!--" not in text
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, ManualScreen), "the list")
        assert app.screen.query_one(OptionList).highlighted == 1
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, HelpScreen), "the keys")
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")


async def test_a_page_scrolls_by_the_keys(model: Model) -> None:
    async with chat(ScriptedEngine([]), model) as (app, pilot):
        await open_manual(app, pilot)
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.screen, ManualPageScreen), "the page")
        await shown(app, pilot, "Set up from a checkout")
        await pilot.press("end")
        await shown(app, pilot, "store is only ever read.")


@pytest.mark.parametrize("size", [(120, 40), (60, 20)])
async def test_every_page_can_be_drawn(model: Model, size: tuple[int, int]) -> None:
    async with chat(ScriptedEngine([]), model, size) as (app, pilot):
        for page in topics():
            app.push_screen(ManualPageScreen(page))
            await shown(app, pilot, " ".join(page.summary.split()[:4]))
            await pilot.press("escape")
            await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
