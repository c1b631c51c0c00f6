"""Long chats: only a window of messages is mounted, and it moves with the scroll position."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.pilot import Pilot

from modelfiles.model import Message
from tests.support.chat import begin, chat, ended, say, screen_text, tiny_model, wait_until
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.app import ChatApp
from tui.chat.transcript.transcript import WINDOW, ConversationView

N_TURNS = 60
LONG = tuple(
    Message("user" if number % 2 == 0 else "assistant", f"message {number}.")
    for number in range(2 * N_TURNS)
)


def conversation_of(app: ChatApp) -> ConversationView:
    return app.chat.query_one(ConversationView)


def mounted(app: ChatApp) -> list[str]:
    return [view.entry.text for view in conversation_of(app).views]


async def drawn(app: ChatApp, pilot: Pilot[int]) -> None:
    view = conversation_of(app)
    await wait_until(pilot, lambda: app.chat.is_drawn and not view.is_moving, "a still view")
    await pilot.pause()


async def test_a_long_history_mounts_its_last_messages(tmp_path: Path) -> None:
    async with chat(ScriptedEngine([["x"]]), tiny_model(tmp_path, messages=LONG)) as (app, pilot):
        await drawn(app, pilot)
        assert mounted(app) == [message.content for message in LONG[-WINDOW:]]
        assert LONG[-1].content in screen_text(app)


async def test_scrolling_up_shows_every_message_once_and_down_again(tmp_path: Path) -> None:
    engine = ScriptedEngine([["The end."]])
    async with chat(engine, tiny_model(tmp_path, messages=LONG)) as (app, pilot):
        await drawn(app, pilot)
        view = conversation_of(app)
        seen = set(mounted(app))
        for _ in range(80):
            await pilot.press("pageup")
            await drawn(app, pilot)
            seen |= set(mounted(app))
            assert len(view.views) <= WINDOW
            order = [view.entry.id for view in view.views]
            assert order == list(range(order[0], order[0] + len(order)))
            if mounted(app)[0] == LONG[0].content and view.scroll_y == 0:
                break
        assert seen == {message.content for message in LONG}
        assert "message 0." in screen_text(app)
        assert "ctrl+end latest" in screen_text(app)
        for _ in range(80):
            await pilot.press("pagedown")
            await drawn(app, pilot)
            if view.is_following:
                break
        assert mounted(app)[-1] == LONG[-1].content
        assert LONG[-1].content in screen_text(app)


async def test_mounting_older_messages_leaves_what_is_seen_in_place(tmp_path: Path) -> None:
    engine = ScriptedEngine([["x"]])
    async with chat(engine, tiny_model(tmp_path, messages=LONG)) as (app, pilot):
        await drawn(app, pilot)
        view = conversation_of(app)
        view.scroll_to(y=1, animate=False, immediate=True)
        await drawn(app, pilot)
        first = mounted(app)[0]
        row = next(i for i, line in enumerate(screen_text(app).splitlines()) if first in line)
        view.scroll_to(y=0, animate=False, immediate=True)
        await drawn(app, pilot)
        assert mounted(app)[0] != first
        lines = screen_text(app).splitlines()
        assert first in lines[row] or first in lines[row + 1]


async def test_the_ends_of_a_long_chat_are_one_key_away(tmp_path: Path) -> None:
    engine = ScriptedEngine([["The end."]])
    async with chat(engine, tiny_model(tmp_path, messages=LONG)) as (app, pilot):
        await pilot.press("ctrl+home")
        await drawn(app, pilot)
        assert "message 0." in screen_text(app)
        assert len(mounted(app)) <= WINDOW
        await pilot.press("ctrl+end")
        await drawn(app, pilot)
        assert LONG[-1].content in screen_text(app)
        await pilot.press("ctrl+home")
        await drawn(app, pilot)
        await say(app, pilot, "Hello")
        await drawn(app, pilot)
        assert "The end." in screen_text(app)
        assert mounted(app)[-2:] == ["Hello", "The end."]


async def test_scrolling_up_during_an_answer_is_respected(tmp_path: Path) -> None:
    first = "".join(f"line {number}\n\n" for number in range(100))
    later = [f"line {number}\n\n" for number in range(100, 120)]
    engine = ScriptedEngine([[first, *later]], gate=asyncio.Event())
    async with chat(engine, tiny_model(tmp_path), size=(80, 24)) as (app, pilot):
        await begin(app, pilot, "Go")
        await wait_until(pilot, lambda: "line 99" in screen_text(app), "the first piece")
        await drawn(app, pilot)
        view = conversation_of(app)
        await pilot.press("pageup", "pageup")
        await drawn(app, pilot)
        assert not view.is_following
        at = view.scroll_y
        assert engine.gate is not None
        engine.gate.set()
        await ended(app, pilot)
        await drawn(app, pilot)
        assert view.max_scroll_y > at
        assert view.scroll_y == at
        assert "ctrl+end latest" in screen_text(app)
        await pilot.press("ctrl+end")
        await drawn(app, pilot)
        assert view.is_following
        assert "line 119" in screen_text(app)
