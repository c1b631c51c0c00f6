"""What is made ready while nobody asks: when it begins, what ends it, what it tells."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import WorkerError
from engine.protocol.events import EffectMeasured, FormChosen, PromptProgress
from engine.protocol.values import AdapterEffect
from engine.stack import AdapterStack
from modelfiles.model import Model
from modelfiles.parameters import Parameters
from tests.support.chat import HISTORY, tiny_model
from tests.support.scripted_engine import ScriptedEngine
from tests.support.session import came_true, opened
from tui.chat.session.session import STACK_PAUSE_S, ChatSession


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal", system="Be brief.")


async def settled(engine: ScriptedEngine, n: int) -> None:
    """Wait until `n` settlings have come to their end and nothing is left over."""
    await came_true(lambda: engine.n_settled == n and not engine.n_settling, f"{n} settlings")


async def rescaled(session: ChatSession, name: str, scale: float) -> AdapterStack:
    """Change a scale as the screen does and return the stack in force."""
    assert session.change_mix(session.mix.with_scale(name, scale))
    await session.apply_mix()
    return session.mix.in_force


async def test_a_load_an_answer_and_a_change_are_each_prepared_for(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model)
    await settled(engine, 1)
    session.ask("Hi")
    await session.answer()
    await settled(engine, 2)
    await rescaled(session, "pirate", 0.3)
    await settled(engine, 3)
    assert session.new_chat()
    await settled(engine, 4)
    said = [[message.content for message in settle.chat.messages] for settle in engine.settles]
    assert said == [["Be brief."], *[["Be brief.", "Hi", "a"]] * 2, ["Be brief."]]
    assert [settle.delay_s for settle in engine.settles] == [0, 0, STACK_PAUSE_S, 0]
    assert {settle.chat.parameters for settle in engine.settles} == {model.parameters}
    assert {settle.chat.template for settle in engine.settles} == {None}


async def test_the_history_of_the_model_is_prepared_too(tmp_path: Path) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, tiny_model(tmp_path, messages=HISTORY))
    await settled(engine, 1)
    assert [m.content for m in engine.settles[0].chat.messages] == [m.content for m in HISTORY]
    await session.close()


async def test_a_question_ends_what_is_being_prepared_and_leaves_nothing_of_it(
    model: Model,
) -> None:
    engine = ScriptedEngine([["a"]], settle_gate=asyncio.Event())
    engine.settle_events = (PromptProgress(1, 3, 12, 0),)
    session, notes = await opened(engine, model)
    await came_true(lambda: session.meter.n_prepared == 3, "progress")
    session.ask("Hi")
    await session.answer()
    assert (engine.n_settled, engine.n_settling, session.meter.n_prepared) == (0, 0, 0)
    await came_true(lambda: session.meter.n_prepared == 3, "progress of the next preparation")
    assert [len(engine.settles), len(engine.prompts)] == [2, 1]
    await session.close()
    assert (session.meter.n_prepared, session.meter.n_to_prepare) == (0, 0)
    assert engine.n_settling == 0
    assert notes.told_sentences == []


async def test_every_change_supersedes_what_is_being_prepared(model: Model, tmp_path: Path) -> None:
    # The engine fails an assertion where two are made ready at once, or where it is asked for
    # anything else meanwhile.
    engine = ScriptedEngine([["a"]], settle_gate=asyncio.Event())
    session, notes = await opened(engine, model)

    async def begun(n: int) -> None:
        await came_true(lambda: len(engine.settles) == n and engine.n_settling == 1, f"{n} begun")

    await begun(1)
    for n, scale in enumerate((0.1, 0.2, 0.3), start=2):
        await rescaled(session, "pirate", scale)
        await begun(n)
    session.new_chat()
    await begun(5)
    session.set_system("Be long.")
    await begun(6)
    assert await session.set_parameters(Parameters(num_ctx=256))
    await begun(7)
    await session.configure(lambda settings: settings)
    await begun(8)
    (tmp_path / "other").mkdir()
    await session.open(tiny_model(tmp_path / "other"))
    await begun(9)
    await session.close()
    assert engine.n_settled == 0
    assert engine.n_stopped_settling == 9, "one was interrupted while it told its worker to stop"
    assert notes.told_sentences == []


async def test_changes_faster_than_the_engine_end_in_one_preparation(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model)
    await settled(engine, 1)
    for _ in range(5):
        session.set_system("Be kind.")
    await settled(engine, 2)
    assert len(engine.settles) == 2


async def test_a_change_taken_back_before_it_was_applied_is_prepared_for_again(
    model: Model,
) -> None:
    engine = ScriptedEngine([["a"]], settle_gate=asyncio.Event())
    session, _ = await opened(engine, model)
    await came_true(lambda: engine.n_settling == 1, "a preparation")
    before = session.mix
    session.change_mix(before.with_scale("pirate", 0.5))
    session.change_mix(before)
    await session.apply_mix()
    await came_true(lambda: len(engine.settles) == 2 and engine.n_settling == 1, "it goes on")
    assert len(engine.stacks) == 1
    await session.close()


async def test_a_failure_in_the_background_is_told_once(model: Model) -> None:
    engine = ScriptedEngine([["a"]], settle_error=WorkerError("The worker ended."))
    session, notes = await opened(engine, model)

    async def failed(n: int) -> None:
        await came_true(lambda: len(engine.settles) == n and not engine.n_settling, f"{n} failed")

    await failed(1)
    for n, scale in enumerate((0.1, 0.2), start=2):
        await rescaled(session, "pirate", scale)
        await failed(n)
    session.ask("Hi")
    await session.answer()
    await failed(4)
    assert notes.told_sentences == ["The worker ended."]
    assert session.conversation.last_answer is not None


async def test_effect_and_form_belong_to_the_stack_in_force(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model)
    await settled(engine, 1)
    half = session.mix.with_scale("pirate", 0.5).in_force
    engine.settle_events = (
        EffectMeasured(1, half.digest, 1.84),
        FormChosen(1, half.digest, "fused", "fused decodes 2.1 times as fast"),
    )
    assert await rescaled(session, "pirate", 0.5) == half
    await settled(engine, 2)
    state = session.stack_state
    assert (state.effect_nats, state.form) == (1.84, "fused")
    assert state.reason == "fused decodes 2.1 times as fast"
    # The events that come now are those of the stack before: late, and no longer true.
    engine.form = "layered"
    await rescaled(session, "pirate", 0.6)
    await settled(engine, 3)
    assert session.stack_state.effect_nats is None
    assert session.stack_state.form == "layered"
    engine.form = "none"
    engine.settle_events = ()
    await rescaled(session, "pirate", 0.5)
    assert session.stack_state.effect_nats == 1.84, "an effect that was measured is still known"
    assert session.stack_state.form == "none", "the form was that of then"
    session.change_mix(session.mix.with_bypass_toggled())
    assert session.stack_state.effect_nats is None


async def test_the_form_is_the_one_that_the_engine_says_last(model: Model) -> None:
    engine = ScriptedEngine([["a"]], form="layered")
    session, _ = await opened(engine, model)
    await rescaled(session, "pirate", 0.5)
    assert session.stack_state.form == "layered"
    engine.form = "fused"
    session.ask("Hi")
    await session.answer()
    assert session.stack_state.form == "fused"


async def test_form_and_reason_follow_the_settings(model: Model) -> None:
    engine = ScriptedEngine([["a"]], form="fused")
    session, _ = await opened(engine, model)
    digest = (await rescaled(session, "pirate", 0.5)).digest
    seen = []
    expected = [("fused", "measured"), ("fused", ""), ("layered", "")]
    for form, reason in expected:
        engine.settle_events = (FormChosen(1, digest, form, reason),)
        n = engine.n_settled
        assert await session.configure(lambda settings: settings)
        await settled(engine, n + 1)
        seen.append((session.stack_state.form, session.stack_state.reason))
    assert seen == expected


async def test_another_base_forgets_every_effect(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model)
    stack = await rescaled(session, "pirate", 0.5)
    engine.settle_events = (EffectMeasured(1, stack.digest, 1.84),)
    session.set_system("")
    await came_true(lambda: session.stack_state.effect_nats is not None, "an effect")
    engine.settle_events = ()
    assert await session.set_parameters(Parameters(num_ctx=256))
    assert session.stack_state.effect_nats is None


async def test_an_adapter_that_does_nothing_is_told_once_for_each_base(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, notes = await opened(engine, model)
    stack = await rescaled(session, "pirate", 1.0)
    await came_true(lambda: not engine.n_settling, "the end")
    sha256 = stack.entries[0].adapter.sha256
    dead = AdapterEffect(sha256, 0.0, 32, 32, ("pirate has no effect on this base.",))
    engine.settle_events = (EffectMeasured(1, stack.digest, 0.0, (dead,)),)
    for system in ("one", "two"):
        n_settled = engine.n_settled
        session.set_system(system)
        await settled(engine, n_settled + 1)
    assert len(notes.told_sentences) == 1
    assert notes.told_sentences[0] == "pirate has no effect on this base."
    assert session.stack_state.adapters[sha256] == dead
    assert await session.set_parameters(Parameters(num_ctx=256))
    await came_true(lambda: len(notes.told_sentences) == 2, "it is said of the other base too")
    await session.close()


async def test_a_model_that_cannot_be_loaded_leaves_the_one_before_prepared(
    model: Model, tmp_path: Path
) -> None:
    engine = ScriptedEngine([["a"]], settle_gate=asyncio.Event())
    session, notes = await opened(engine, model)
    await came_true(lambda: engine.n_settling == 1, "a preparation")
    await session.open(Model("gone:latest", tmp_path / "gone.gguf"))
    await came_true(lambda: len(engine.settles) == 2 and engine.n_settling == 1, "it goes on")
    assert len(notes.told_sentences) == 1
    await session.close()


async def test_the_numbers_of_the_footer_are_never_those_of_the_base_before(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, tiny_model(tmp_path))
    await settled(engine, 1)
    session.ask("Hi")
    await session.answer()
    assert (session.meter.tokens_per_s, session.meter.n_context) != (0, 0)
    await settled(engine, 2)
    (tmp_path / "other").mkdir()
    await session.open(tiny_model(tmp_path / "other"))
    assert (session.meter.tokens_per_s, session.meter.n_context) == (0, 0)
    engine.settle_events = (PromptProgress(1, 3, 17, 0),)
    session.set_system("Be kind.")
    await settled(engine, engine.n_settled + 1)
    assert session.meter.n_context == 17, "what was read for the next answer is in the context"
