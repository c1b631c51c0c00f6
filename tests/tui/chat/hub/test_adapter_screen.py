"""What the chat tells of one repository: its card, its files, whether they fit the base."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelfiles.model import Model
from modelfiles.references.pulled_adapters import PulledAdapters
from tests.support.chat import chat, notices, ready, screen_text, wait_until
from tests.support.fake_hub import FakeHub, Weather
from tests.support.hub_screens import added, line, looked_at
from tests.support.hub_shelf import GATED, LORA, PEFT, SEVERAL, WRONG, put
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.app import ChatApp
from tui.chat.hub.page import Found, looked_up


def whole(app: ChatApp) -> str:
    return " ".join(screen_text(app).split())


async def test_the_card_the_files_and_the_verdict_are_shown_before_anything_is_downloaded(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, LORA)
        assert line(screen, "verdict") == "✓ fits Tiny"
        assert line(screen, "choices").startswith("lora.gguf  GGUF, ")
        await wait_until(pilot, lambda: "SQL for Tiny" in screen_text(app), "the card")
        text = whole(app)
        assert "GGUF LoRA · 90K downloads · 12 likes" in text
        assert "Turns questions into SQL. plot See the paper (https://example.com/p)" in text
        assert "select <b> from t;" in text
        for hidden in ("license:", "hidden", "<div", "plot.png"):
            assert hidden not in text
        assert "one[31m red" in text
        asked = [r for r, ranges in zip(hub.requests, hub.ranges, strict=True) if "lora.gguf" in r]
        assert len(asked) == 1
        assert "bytes=0-65535" in hub.ranges


async def test_what_the_search_told_is_shown_while_the_hub_is_asked(
    engine: ScriptedEngine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()

    def slow(repo: str) -> Found:
        assert may_answer.wait(60)
        return looked_up(repo)

    monkeypatch.setattr("tui.chat.hub.adapter_screen.looked_up", slow)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await pilot.press("ctrl+f")
        await wait_until(pilot, lambda: LORA in screen_text(app), "the row")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "asking the Hub…" in screen_text(app), "what it waits for")
        assert "90K downloads · 12 likes" in screen_text(app)
        may_answer.set()
        await wait_until(pilot, lambda: "✓ fits Tiny" in screen_text(app), "the verdict")


async def test_the_verdict_does_not_wait_for_the_card(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    may_go_on = threading.Event()
    hub.weather.append(Weather("README.md", cut_after=10, held=may_go_on))
    async with chat(engine, model, (100, 30)) as (app, pilot):
        await pilot.press("ctrl+f")
        await wait_until(pilot, lambda: LORA in screen_text(app), "the row")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "✓ fits Tiny" in screen_text(app), "the verdict")
        assert "SQL for Tiny" not in screen_text(app)
        may_go_on.set()


async def test_what_does_not_fit_says_why_and_cannot_be_pulled(
    engine: ScriptedEngine, model: Model, home: Path
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, WRONG)
        assert line(screen, "verdict").startswith("✗ does not fit Tiny: ")
        assert "128 x 128" in line(screen, "verdict")
        assert "but the base's 'blk.0.attn_q.weight' needs 64 x 64" in line(screen, "verdict")
        assert "Enter" not in str(screen.query_one("#hub-adapter").border_subtitle)
        await pilot.press("enter", "enter")
        assert line(screen, "doing") == ""
        assert notices(app)[-1] == "What does not fit this base cannot be put into the rack."
        assert PulledAdapters(home).list() == []


async def test_what_cannot_be_told_is_asked_with_its_doubt(
    engine: ScriptedEngine, model: Model, hub: FakeHub, tmp_path: Path
) -> None:
    weights = hub.repos[PEFT]
    files = {"adapter_config.json": weights["adapter_config.json"], "adapter_model.bin": b"no"}
    put(hub, "fay/pickled", files, 1)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, "fay/pickled")
        assert line(screen, "verdict").startswith("? whether it fits cannot be told: ")
        await pilot.press("enter")
        assert "although it may not fit?" in line(screen, "doing")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "tries again" in line(screen, "verdict"), "a sentence")
        assert "hf.co/fay/pickled" in line(screen, "verdict")
        assert str(tmp_path) not in line(screen, "verdict")
        assert len(app.chat.session.mix.stack) == 1


async def test_what_is_gated_says_where_to_accept(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, GATED)
        assert "is gated: accept its conditions at" in line(screen, "verdict")
        hub.gated.clear()
        await pilot.press("enter")
        await wait_until(pilot, lambda: "✓ fits Tiny" in line(screen, "verdict"), "the verdict")


async def test_a_card_that_is_not_handed_out_hides_nothing_else(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    hub.weather.append(Weather("README", status=403, body=b"{}"))
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, LORA)
        assert line(screen, "verdict") == "✓ fits Tiny"
        await wait_until(pilot, lambda: "Its card cannot be read." in screen_text(app), "words")


async def test_a_repository_without_adapter_and_card_says_so(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    put(hub, "gus/merged", {"model.safetensors": b"x"}, 1)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, "gus/merged")
        assert line(screen, "verdict").startswith("It holds no adapter: ")
        await wait_until(pilot, lambda: "It has no card." in screen_text(app), "words")
        await pilot.press("enter")
        assert line(screen, "doing") == ""


async def test_of_several_adapters_one_is_chosen(
    engine: ScriptedEngine, model: Model, hub: FakeHub
) -> None:
    hub.repos[SEVERAL]["third.gguf"] = b"GGUF" + bytes(60)
    async with chat(engine, model, (100, 30)) as (app, pilot):
        screen = await looked_at(app, pilot, SEVERAL)
        assert line(screen, "choices").splitlines()[0].startswith("▸ first.gguf")
        await pilot.press("left")
        await wait_until(pilot, lambda: "does not fit" in line(screen, "verdict"), "the verdict")
        assert "▸ third.gguf" in line(screen, "choices")
        await pilot.press("left")
        await wait_until(pilot, lambda: "✓ fits Tiny" in line(screen, "verdict"), "the verdict")
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        await ready(app, pilot)
        assert added(app)[0] == "second"


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (40, 12)])
async def test_a_small_terminal_shows_verdict_and_question(
    engine: ScriptedEngine, model: Model, size: tuple[int, int]
) -> None:
    async with chat(engine, model, size) as (app, pilot):
        await looked_at(app, pilot, LORA)
        assert "✓ fits Tiny" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert "Pull 34 KB" in screen_text(app)
