"""Stacks that change while an answer is written, and answers that say how exact they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import AdapterError
from modelfiles.model import Model
from tests.support.chat import begin, chat, ended, notices, screen_text, tiny_model, wait_until
from tests.support.scripted_engine import ScriptedEngine
from tests.support.session import came_true, opened, reached
from tui.chat.screens.chat import LIVE_OFF, LIVE_ON
from tui.chat.session.answer_in_progress import WHY_KEPT, WHY_LIVE
from tui.chat.session.meter import Phase
from tui.chat.session.session import ChatSession
from tui.settings import Settings, toggled_live

LIVE = Settings(live=True)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal")


def label_of(session: ChatSession) -> str:
    answer = session.conversation.last_answer
    assert answer is not None
    return answer.label


async def test_a_change_applies_within_the_answer_and_is_on_its_label(model: Model) -> None:
    engine = ScriptedEngine([["a", "b"]], gate=asyncio.Event(), is_approximate=True)
    session, notes = await opened(engine, model, LIVE)
    assert engine.settings[0].is_live
    session.change_mix(session.mix.with_scale("pirate", 0.7))
    session.ask("Hi")
    answering = asyncio.create_task(session.answer())
    await reached(session, Phase.WRITING)
    assert not session.stack_state.is_approximate
    assert session.change_mix(session.mix.with_scale("pirate", 0.3))
    await session.apply_mix()
    assert session.is_answering
    assert [stack.label for stack in engine.stacks] == ["base", "pirate 0.70", "pirate 0.30"]
    assert session.stack_state.is_approximate
    assert engine.gate is not None
    engine.gate.set()
    await answering
    assert label_of(session) == "pirate 0.70 → 0.30 · live, approximate"
    assert notes.told_sentences == [WHY_LIVE]
    # What the next answer rests on is evaluated anew.
    assert not session.stack_state.is_approximate
    engine.is_approximate = False
    session.ask_again()
    await session.answer()
    assert label_of(session) == "pirate 0.30"
    await session.close()


async def test_a_change_that_the_engine_refuses_is_not_on_the_label(model: Model) -> None:
    engine = ScriptedEngine([["a", "b"]], gate=asyncio.Event())
    session, notes = await opened(engine, model, LIVE)
    session.ask("Hi")
    answering = asyncio.create_task(session.answer())
    await reached(session, Phase.WRITING)
    engine.stack_error = AdapterError("pirate does not fit.")
    session.change_mix(session.mix.with_scale("pirate", 0.3))
    await session.apply_mix()
    assert session.mix.label == "base"
    assert engine.gate is not None
    engine.gate.set()
    await answering
    assert label_of(session) == "base"
    assert notes.told_sentences == ["pirate does not fit."]


async def test_a_change_that_alters_nothing_for_the_engine_is_no_change(model: Model) -> None:
    engine = ScriptedEngine([["a", "b"]], gate=asyncio.Event())
    session, _ = await opened(engine, model, LIVE)
    session.ask("Hi")
    answering = asyncio.create_task(session.answer())
    await reached(session, Phase.WRITING)
    session.change_mix(session.mix.without("formal"))
    await session.apply_mix()
    assert engine.gate is not None
    engine.gate.set()
    await answering
    assert label_of(session) == "base"


async def test_live_turned_on_within_an_answer_applies_what_has_waited(model: Model) -> None:
    engine = ScriptedEngine([["a", "b"]], gate=asyncio.Event(), is_approximate=True)
    session, _ = await opened(engine, model)
    session.ask("Hi")
    answering = asyncio.create_task(session.answer())
    await reached(session, Phase.WRITING)
    assert not session.change_mix(session.mix.with_scale("pirate", 0.3))
    assert len(engine.stacks) == 1
    assert await session.configure(toggled_live)
    assert [stack.label for stack in engine.stacks] == ["base", "pirate 0.30"]
    assert engine.gate is not None
    engine.gate.set()
    await answering
    assert label_of(session) == "base → pirate 0.30 · live, approximate"


async def test_an_answer_on_a_kept_cache_says_so_and_why_once(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, notes = await opened(engine, model, Settings(swap="keep"))
    session.ask("Hi")
    await session.answer()
    assert label_of(session) == "base"
    assert not session.stack_state.is_approximate
    session.change_mix(session.mix.with_scale("pirate", 0.3))
    await session.apply_mix()
    assert session.stack_state.is_approximate, "the cache is that of the base"
    engine.is_approximate = True
    for _ in range(2):
        session.ask("And?")
        await session.answer()
        assert label_of(session) == "pirate 0.30 · approximate"
    assert notes.told_sentences == [WHY_KEPT]
    assert session.stack_state.is_approximate
    await session.configure(lambda _: Settings())
    assert not session.stack_state.is_approximate
    await session.configure(lambda _: Settings(swap="keep"))
    assert session.stack_state.is_approximate
    session.new_chat()
    assert not session.stack_state.is_approximate
    await session.close()


async def test_an_engine_that_crashed_has_kept_nothing(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model, Settings(swap="keep"))
    session.ask("Hi")
    await session.answer()
    session.change_mix(session.mix.with_scale("pirate", 0.3))
    engine.crash = "The worker was stopped by SIGKILL."
    session.ask("And?")
    await session.answer()
    assert not session.stack_state.is_approximate
    await session.close()


async def test_changes_of_settings_faster_than_the_engine_are_all_made(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model)
    await asyncio.gather(*(session.configure(toggled_live) for _ in range(3)))
    assert [told.is_live for told in engine.settings] == [False, True, False, True]
    assert session.settings.live
    await came_true(lambda: not engine.n_settling, "the end")


class OneAtATime(asyncio.Event):
    """A gate through which every `set` lets one pass."""

    async def wait(self) -> bool:
        await super().wait()
        self.clear()
        return True


async def test_the_key_and_the_label_on_the_screen(model: Model) -> None:
    gate = OneAtATime()
    engine = ScriptedEngine([["One ", "two ", "three"]], gate=gate, is_approximate=True)
    async with chat(engine, model) as (app, pilot):
        await begin(app, pilot, "Hi")
        await pilot.press("tab", "l")
        await wait_until(pilot, lambda: notices(app) == [LIVE_ON], "live is on")
        assert "adapters · live" in screen_text(app)
        await pilot.press("1")
        await wait_until(pilot, lambda: engine.stacks[-1].label == "pirate 1.00", "it applies")
        gate.set()
        label = "base → pirate 1.00 · live, approximate"
        await wait_until(pilot, lambda: label in screen_text(app), "the label of what goes on")
        assert app.chat.session.is_answering
        gate.set()
        answer = await ended(app, pilot)
        assert answer.label == "base → pirate 1.00 · live, approximate"
        assert answer.label in screen_text(app)
        assert notices(app)[-1] == WHY_LIVE
        await pilot.press("l")
        await wait_until(pilot, lambda: notices(app)[-1] == LIVE_OFF, "live is off")
        assert "adapters · live" not in screen_text(app)
