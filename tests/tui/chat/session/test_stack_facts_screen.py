"""Effect, form, progress and swap time where the person sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.widgets import Static

from engine.protocol.events import EffectMeasured, FormChosen, PromptProgress, SettleEvent
from engine.protocol.values import AdapterEffect
from modelfiles.model import Model
from tests.support.chat import chat, notices, ready, say, screen_text, tiny_model, wait_until
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.app import ChatApp


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal", scale=1.0)


def measured(
    app: ChatApp, effect_nats: float, alone_nats: float, n_used: int
) -> tuple[SettleEvent, ...]:
    """Return what the engine tells of the stack shown."""
    stack = app.chat.session.mix.in_force
    adapters = tuple(
        AdapterEffect(
            entry.adapter.sha256,
            alone_nats,
            32,
            n_used,
            () if n_used else (f"{entry.adapter.name} has no effect on this base.",),
        )
        for entry in stack.active
    )
    return (
        EffectMeasured(1, stack.digest, effect_nats, adapters),
        FormChosen(1, stack.digest, "fused", "fused decodes 2.1 times as fast"),
    )


def total(app: ChatApp) -> str:
    return str(app.chat.query_one("#rack-total", Static).content)


async def test_the_rack_tells_what_the_stack_does_and_forgets_it_with_the_stack(
    model: Model,
) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        assert total(app).startswith("2 of 2 on")
        engine.settle_events = measured(app, 1.84, alone_nats=1.2, n_used=32)
        app.chat.session.set_system("Be brief.")
        await wait_until(pilot, lambda: "fused" in total(app), "the form")
        assert "effect 1.8 nats · fused · exact" in screen_text(app)
        assert "fused decodes 2.1 times as fast" in screen_text(app)
        assert "effect alone 1.2 nats" in screen_text(app)
        assert "32 of 32 tensors used" in screen_text(app)
        engine.settle_events = ()
        app.chat.apply_delay_s = 3600
        await pilot.press("tab", "right")
        await pilot.pause()
        for fact in ("nats", "fused", "exact"):
            assert fact not in total(app), "what is shown is not measured, nor even applied"
        await pilot.press("left", "ctrl+b")
        await ready(app, pilot)
        assert "nats" not in total(app)
        assert "exact" not in total(app)
        await pilot.press("ctrl+b")
        await ready(app, pilot)
        assert "effect 1.8 nats · exact" in total(app)
        assert notices(app) == []


async def test_an_adapter_without_effect_is_told_and_stays_told_in_the_rack(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        engine.settle_events = measured(app, 0.0, alone_nats=0.0, n_used=0)
        for text in ("one", "two"):
            app.chat.session.set_system(text)
            await wait_until(pilot, lambda: "no effect" in screen_text(app), "the effect")
            await pilot.pause()
        assert notices(app) == [
            f"{name} has no effect on this base." for name in ("pirate", "formal")
        ]
        assert "0 of 32 tensors used" in screen_text(app)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_the_footer_counts_what_is_prepared_while_everything_can_be_used(
    model: Model, size: tuple[int, int]
) -> None:
    engine = ScriptedEngine([["Yes."]], swap_s=0.0094)
    async with chat(engine, model, size) as (app, pilot):

        def footer() -> str:
            return screen_text(app).splitlines()[-1]

        await say(app, pilot, "Hi")
        assert ("swap 9 ms" in footer()) == (size[0] >= 80)
        assert "ready" in footer()
        engine.settle_gate = asyncio.Event()
        engine.settle_events = (PromptProgress(1, 120, 512, 0),)
        await pilot.press("tab", "1")
        await wait_until(pilot, lambda: "preparing" in footer(), "the progress")
        assert "120 / 512" in footer()
        assert ("━" in footer()) == (size[0] >= 80)
        assert len(footer()) <= size[0]
        assert (await say(app, pilot, "Go on")).label == "formal 1.00"
        engine.settle_gate.set()
        await wait_until(pilot, lambda: "ready" in footer(), "the end")


async def test_quitting_ends_what_is_being_prepared(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]], settle_gate=asyncio.Event())
    async with chat(engine, model) as (_, pilot):
        await wait_until(pilot, lambda: engine.n_settling, "a preparation")
    assert (engine.n_settling, engine.n_settled, engine.is_closed) == (0, 0, True)
