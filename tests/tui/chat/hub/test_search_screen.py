"""Finding adapters in the chat, on a Hub on the loopback with three hundred of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from engine.hub.search.search import Repository, search_adapters
from modelfiles.model import Model
from tests.support.chat import (
    begin,
    burst,
    chat,
    ended,
    notices,
    ready,
    screen_text,
    wait_until,
)
from tests.support.fake_hub import FakeHub, Weather
from tests.support.hub_screens import model_on
from tests.support.hub_shelf import GATED, LORA, PEFT, fill, put
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_models import write_base
from tui.chat.app import ChatApp
from tui.chat.hub.adapter_screen import HubAdapterScreen
from tui.chat.hub.rows import HubRows
from tui.chat.hub.search_screen import HubScreen
from tui.chat.rack.rack import Rack

N_REPOS = 55
"""More than one page of the Hub; `many` are six."""


@pytest.fixture
def model(hub: FakeHub, tmp_path: Path) -> Model:
    return model_on(hub, tmp_path, n_others=N_REPOS - 5)


@pytest.fixture
def many(hub: FakeHub, model: Model, tmp_path: Path) -> int:
    """Fill the hub with three hundred repositories, and return how many there are."""
    fill(hub, tmp_path, model.base, n_others=295)
    return 300


async def opened(app: ChatApp, pilot: Pilot[int], key: str = "ctrl+f") -> HubScreen:
    await pilot.press(key)
    return await shown(app, pilot)


async def shown(app: ChatApp, pilot: Pilot[int]) -> HubScreen:
    await wait_until(pilot, lambda: isinstance(app.screen, HubScreen), "the screen")
    screen = app.screen
    assert isinstance(screen, HubScreen)
    await settled(screen, pilot)
    return screen


async def settled(screen: HubScreen, pilot: Pilot[int]) -> None:
    await wait_until(pilot, lambda: not screen.is_searching, "the search ends")
    await pilot.pause()


async def asked(screen: HubScreen, pilot: Pilot[int], hub: FakeHub, *keys: str) -> None:
    """Press keys that ask the Hub anew, and wait for the end of what it answers."""
    n_before = len(searches(hub))
    await pilot.press(*keys)
    await wait_until(pilot, lambda: len(searches(hub)) > n_before, "a search")
    await settled(screen, pilot)


def names(screen: HubScreen) -> list[str]:
    return [row.name for row in screen.query_one(HubRows).rows]


def selected(screen: HubScreen) -> str:
    row = screen.query_one(HubRows).selected
    assert row is not None
    return row.name


def told(screen: HubScreen) -> str:
    return str(screen.query_one("#hub-told", Static).content)


def searches(hub: FakeHub) -> list[str]:
    return [request for request in hub.requests if "/api/models?" in request]


async def test_the_adapters_for_the_base_are_listed_most_downloads_first(
    engine: ScriptedEngine, model: Model, many: int
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await opened(app, pilot)
        assert len(names(screen)) == many
        assert told(screen) == "These are the first 300: words find others."
        assert names(screen)[:2] == [LORA, PEFT]
        text = screen_text(app)
        assert "for Tiny · by downloads · 300 found" in text
        for fact in ("GGUF LoRA", "90K", "12", "mit", "gated", "PEFT", "apache-2.0", "unknown"):
            assert fact in text


async def test_slash_in_the_rack_and_a_command_open_it_too(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        app.chat.query_one(Rack).focus()
        screen = await opened(app, pilot, "slash")
        assert selected(screen) == LORA
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        app.chat.query_one("#prompt").text = "/hub  Style"
        app.chat.query_one("#prompt").focus()
        screen = await opened(app, pilot, "enter")
        assert names(screen) == [PEFT]


async def test_three_hundred_rows_are_walked_from_end_to_end(
    engine: ScriptedEngine, model: Model, many: int
) -> None:
    async with chat(engine, model, (80, 24)) as (app, pilot):
        screen = await opened(app, pilot)
        await pilot.press("ctrl+end")
        assert selected(screen) == "user294/tiny-adapter-294"
        await pilot.pause()
        assert "tiny-adapter-294" in screen_text(app)
        assert LORA not in screen_text(app)
        await pilot.press("up", "pageup")
        assert selected(screen) < "user294"
        await pilot.press("ctrl+home", "down")
        assert selected(screen) == PEFT
        await pilot.press("up", "up")
        assert selected(screen) == LORA
        await pilot.pause()
        assert "ann/tiny-sql-lora" in screen_text(app)
        rows = screen.query_one(HubRows)
        assert len(rows.children) == 0  # no widget of its own for any row


async def test_typing_filters_at_once_and_asks_anew_after_a_pause(
    engine: ScriptedEngine, model: Model, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.chat.hub.search_screen.TYPING_PAUSE_S", 1e6)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await opened(app, pilot)
        n_searches = len(searches(hub))
        await pilot.press(*"sql")
        assert names(screen) == [LORA]
        assert len(searches(hub)) == n_searches
        monkeypatch.setattr("tui.chat.hub.search_screen.TYPING_PAUSE_S", 0.01)
        await pilot.press("backspace")
        await wait_until(pilot, lambda: len(searches(hub)) > n_searches, "a search")
        await settled(screen, pilot)
        assert "search=sq" in searches(hub)[-1]
        assert names(screen) == [LORA]


async def test_enter_opens_what_the_letters_typed_just_before_select(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await opened(app, pilot)
        burst(app, *"style", "enter")
        await wait_until(pilot, lambda: isinstance(app.screen, HubAdapterScreen), "the details")
        assert app.screen.query_one("#hub-adapter").border_title == PEFT


async def test_keys_pressed_faster_than_they_are_drawn_act_in_their_order(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        await opened(app, pilot)
        burst(app, "down", "down", "up", "enter")
        await wait_until(pilot, lambda: isinstance(app.screen, HubAdapterScreen), "the details")
        assert app.screen.query_one("#hub-adapter").border_title == PEFT


async def test_the_order_goes_round_and_the_hub_is_asked_in_it(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    put(hub, "new/newest", {"README.md": b""}, 0, likes=0, modified="2026-10-01T10:00:00.000Z")
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await opened(app, pilot)
        await asked(screen, pilot, hub, "ctrl+o")
        assert names(screen)[0] == "user049/tiny-adapter-049"
        assert "by likes" in screen_text(app)
        await asked(screen, pilot, hub, "ctrl+o")
        assert "sort=lastModified" in searches(hub)[-1]
        assert names(screen)[0] == "new/newest"
        assert "by newest" in screen_text(app)
        await asked(screen, pilot, hub, "ctrl+o")
        assert names(screen)[0] == LORA


async def test_every_adapter_is_searched_at_a_key_and_those_for_the_base_at_the_next(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    put(hub, "zed/for-another-base", {"lora.gguf": b""}, 10**6, tags=("lora",))
    async with chat(engine, model) as (app, pilot):
        screen = await opened(app, pilot)
        assert "zed/for-another-base" not in names(screen)
        await asked(screen, pilot, hub, "ctrl+e")
        assert names(screen)[0] == "zed/for-another-base"
        assert "filter=lora&" in searches(hub)[-1]
        assert "for any base" in screen_text(app)
        await asked(screen, pilot, hub, "ctrl+e")
        assert names(screen)[0] == LORA
        assert "zed/for-another-base" not in names(screen)


async def test_a_base_without_a_name_on_the_hub_says_so_and_searches_by_words(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    write_base(model.base, n_ctx_train=32768)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await opened(app, pilot)
        assert "Tiny does not say which model of the Hub it is" in told(screen)
        assert "ctrl+e" not in str(screen.query_one("#hub").border_subtitle)
        assert all("filter=lora&" in request for request in searches(hub))
        n_searches = len(searches(hub))
        await pilot.press("ctrl+e")
        await pilot.pause()
        assert len(searches(hub)) == n_searches
        assert LORA in names(screen)


class Gate:
    """Searches that bring their first row and hold the rest back, by their words."""

    def __init__(self) -> None:
        self.opened: dict[str, threading.Event] = {}
        self.ended: set[str] = set()

    def __call__(self, words: str, *arguments: Any, **options: Any) -> Iterator[Repository]:
        gate = self.opened.setdefault(words, threading.Event())
        found = search_adapters(words, *arguments, **options)
        yield next(found)
        gate.wait(60)
        yield from found
        self.ended.add(words)


async def test_only_the_newest_search_adds_rows(
    engine: ScriptedEngine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr("tui.chat.hub.search.search_adapters", gate)
    monkeypatch.setattr("tui.chat.hub.search_screen.TYPING_PAUSE_S", 0.01)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await pilot.press("ctrl+f")
        await wait_until(pilot, lambda: isinstance(app.screen, HubScreen), "the screen")
        screen = app.screen
        assert isinstance(screen, HubScreen)
        await wait_until(pilot, lambda: len(names(screen)) == 1, "the first row")
        assert "searching…" in screen_text(app)
        head = screen.query_one("#hub-head", Static)
        await wait_until(pilot, lambda: "downloads" in str(head.content), "a head as wide as it")
        await pilot.press(*"adapter")
        await wait_until(pilot, lambda: "adapter" in gate.opened, "the second search")
        await wait_until(pilot, lambda: len(names(screen)) == 1, "its first row")
        for opened_by in gate.opened.values():
            opened_by.set()
        await settled(screen, pilot)
        monkeypatch.setattr("tui.chat.hub.search_screen.TYPING_PAUSE_S", 1e6)
        assert len(names(screen)) == N_REPOS - 5
        await pilot.press(*["backspace"] * len("adapter"))
        assert len(names(screen)) == N_REPOS - 5 + 1  # nothing of what the first one held back
        assert "" not in gate.ended


async def test_rows_that_arrive_above_leave_the_selected_one_selected(
    engine: ScriptedEngine, model: Model, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await opened(app, pilot)
        await pilot.press("pagedown", "pagedown", "down")
        before = selected(screen)
        put(hub, "new/first", {"README.md": b""}, 10**7)
        await asked(screen, pilot, hub, "ctrl+r")
        assert names(screen)[0] == "new/first"
        assert selected(screen) == before
        await pilot.pause()
        assert before in screen_text(app)


@pytest.mark.parametrize(
    ("weather", "sentence"),
    [
        (Weather("/api/models", status=500, body=b"{}"), "answered 500 to the search"),
        (Weather("/api/models", status=429, body=b"{}"), "too many requests"),
        (Weather("/api/models", status=500, body=b"[]"), "answered 500 and nonsense"),
        (Weather("/api/models", body=b"<html>"), "something that is no list"),
        (Weather("/api/models", cut_after=10), "cannot be reached"),
    ],
)
async def test_what_fails_is_one_sentence_and_the_chat_stays_usable(
    engine: ScriptedEngine, model: Model, hub: FakeHub, weather: Weather, sentence: str
) -> None:
    hub.weather.append(weather)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await opened(app, pilot)
        assert sentence in told(screen)
        assert told(screen).endswith("ctrl+r tries again.")
        assert sentence in " ".join(screen_text(app).split())
        hub.weather.clear()
        await asked(screen, pilot, hub, "ctrl+r")
        assert told(screen) == ""
        assert len(names(screen)) == N_REPOS
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await begin(app, pilot, "Hi")
        assert (await ended(app, pilot)).text == "Yes indeed."


async def test_a_hub_that_cannot_be_reached_is_told(
    engine: ScriptedEngine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    async with chat(engine, model) as (app, pilot):
        screen = await opened(app, pilot)
        assert "The Hugging Face Hub cannot be reached: check the network" in told(screen)


async def test_nothing_found_says_what_to_try(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    async with chat(engine, model) as (app, pilot):
        screen = await opened(app, pilot)
        await pilot.press(*"zebra")
        await wait_until(pilot, lambda: "Nothing was found for “zebra”" in told(screen), "words")
        assert "ctrl+e for adapters of any base" in told(screen)
        hub.repos.clear()
        await pilot.press("ctrl+e", "ctrl+e")  # what was found before is forgotten
        await pilot.press(*["backspace"] * 5, "ctrl+r")
        await wait_until(pilot, lambda: "Nobody has published" in told(screen), "words")
        assert "ctrl+e" in told(screen)


async def test_the_next_visit_goes_on_where_the_last_one_ended(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    async with chat(engine, model) as (app, pilot):
        screen = await opened(app, pilot)
        await asked(screen, pilot, hub, *"style", "ctrl+o")
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        hub.weather.append(Weather("/api/models", status=500, body=b"{}"))
        screen = await opened(app, pilot)
        assert names(screen) == [PEFT]
        assert "by likes" in screen_text(app)
        assert "answered 500" in told(screen)


async def test_a_click_opens_a_row(engine: ScriptedEngine, model: Model) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await opened(app, pilot)
        await pilot.click(screen.query_one(HubRows), offset=(5, 3))
        await wait_until(pilot, lambda: isinstance(app.screen, HubAdapterScreen), "the details")
        assert app.screen.query_one("#hub-adapter").border_title == GATED


@pytest.mark.parametrize("size", [(60, 20), (40, 12)])
async def test_a_small_terminal_shows_rows_and_keys(
    engine: ScriptedEngine, model: Model, size: tuple[int, int]
) -> None:
    async with chat(engine, model, size) as (app, pilot):
        await opened(app, pilot)
        assert LORA in screen_text(app)
        assert "Enter opens" in screen_text(app)


async def test_without_a_loaded_model_it_says_what_is_missing(model: Model, hub: FakeHub) -> None:
    engine = ScriptedEngine([["Yes."]], load_gate=asyncio.Event())
    async with chat(engine, model, is_loaded=False) as (app, pilot):
        await pilot.press("ctrl+f")
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert notices(app) == ["Adapters can be added once the model is loaded."]
        assert app.screen is app.chat
        assert engine.load_gate is not None
        engine.load_gate.set()
        await ready(app, pilot)
        assert hub.requests == []


async def test_an_answer_goes_on_while_adapters_are_looked_for(
    model: Model,
) -> None:
    gate = asyncio.Event()
    engine = ScriptedEngine([["Yes", " indeed."]], gate=gate)
    async with chat(engine, model) as (app, pilot):
        await begin(app, pilot, "Hi")
        await opened(app, pilot)
        gate.set()
        await wait_until(pilot, lambda: not app.chat.session.is_answering, "the answer ends")
        assert isinstance(app.screen, HubScreen)
        await pilot.press("escape")
        assert (await ended(app, pilot)).text == "Yes indeed."
