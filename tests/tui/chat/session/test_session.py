"""The session alone, without a screen: what it tells and when the engine is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from engine.errors import AdapterError, BaseError, WorkerError
from modelfiles.model import Model
from modelfiles.parameters import LOAD_TIME, OWN, Parameters, build_parameters, parse_value
from tests.support.chat import tiny_model
from tests.support.scripted_engine import BASE, ScriptedEngine
from tests.support.session import Notes, opened, reached
from tui.chat.session.meter import Phase
from tui.chat.session.session import ChatSession
from tui.conversation import Answer, AnswerState


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal")


async def test_what_the_engine_loaded_otherwise_than_asked_is_told(model: Model) -> None:
    engine = ScriptedEngine(base=msgspec.structs.replace(BASE, notices=("It is smaller.",)))
    session, notes = await opened(engine, model)
    assert notes.told_sentences == ["It is smaller."]
    await session.set_parameters(Parameters(num_ctx=1000))
    assert notes.told_sentences.count("It is smaller.") == 2


@pytest.mark.parametrize("name", sorted(set(OWN) & set(LOAD_TIME)))
async def test_a_parameter_that_decides_how_a_base_is_loaded_loads_it_again(
    model: Model, name: str
) -> None:
    texts = {"flash_attention": "true", "kv_cache_type": "q8_0", "rpc_hosts": "a:1"}
    engine = ScriptedEngine()
    session, _ = await opened(engine, model)
    parameters = build_parameters([(name, parse_value(name, texts.get(name, "1")))])
    assert await session.set_parameters(parameters)
    assert [spec.parameters for spec in engine.loads[1:]] == [parameters]
    assert await session.set_parameters(Parameters(temperature=0.1).over(parameters))
    assert len(engine.loads) == 2, "a sampling parameter loads nothing"


async def test_a_turn_is_told_in_its_order(model: Model) -> None:
    session, notes = await opened(ScriptedEngine([["a", "b"]]), model)
    notes.events.clear()
    assert session.ask("Hi")
    await session.answer()
    told = [event for event in notes.events if event not in ("session", "facts")]
    assert told == ["Question", "Answer", "grew", "grew", "ended"]
    assert session.phase is Phase.READY


async def test_a_change_still_unapplied_is_applied_before_the_answer(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model)
    assert session.change_mix(session.mix.with_scale("pirate", 0.3))
    session.ask("Hi")
    await session.answer()
    assert engine.stacks[-1].label == "pirate 0.30"
    assert session.conversation.last_answer is not None
    assert session.conversation.last_answer.label == "pirate 0.30"


async def test_a_refused_change_before_an_answer_leaves_the_label_true(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, notes = await opened(engine, model)
    engine.stack_error = AdapterError("No.")
    session.change_mix(session.mix.with_scale("pirate", 0.3))
    session.ask("Hi")
    await session.answer()
    assert notes.told_sentences == ["No."]
    assert session.mix.label == "base"
    assert session.conversation.last_answer is not None
    assert session.conversation.last_answer.label == "base"


async def test_changes_that_alter_nothing_ask_the_engine_nothing(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, _ = await opened(engine, model)
    assert not session.change_mix(session.mix)
    n_asked = len(engine.stacks)
    await session.apply_mix()
    assert len(engine.stacks) == n_asked


async def test_only_one_notice_a_turn_says_that_a_change_waits(model: Model) -> None:
    engine = ScriptedEngine([["a", "b"]], gate=asyncio.Event())
    session, notes = await opened(engine, model)
    session.ask("Hi")
    answering = asyncio.create_task(session.answer())
    await reached(session, Phase.WRITING)
    for scale in (0.1, 0.2, 0.3):
        assert not session.change_mix(session.mix.with_scale("pirate", scale))
    assert notes.told_sentences == ["Counts from the next answer. l applies it now."]
    assert engine.gate is not None
    engine.gate.set()
    await answering
    assert [stack.label for stack in engine.stacks] == ["base", "pirate 0.30"]


async def test_esc_before_the_first_token_stops_too(model: Model) -> None:
    engine = ScriptedEngine([["a", "b"]])
    session, _ = await opened(engine, model)
    session.ask("Hi")
    answering = asyncio.create_task(session.answer())
    await reached(session, Phase.PREFILL)
    assert await session.stop()
    await answering
    answer = session.conversation.entries[-1]
    assert isinstance(answer, Answer)
    assert answer.state is AnswerState.STOPPED
    assert not await session.stop()


async def test_a_cancelled_task_leaves_a_stopped_answer(model: Model) -> None:
    engine = ScriptedEngine([["a", "b"]], gate=asyncio.Event())
    session, _ = await opened(engine, model)
    session.ask("Hi")
    answering = asyncio.create_task(session.answer())
    await reached(session, Phase.WRITING)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    answer = session.conversation.last_answer
    assert answer is not None
    assert (answer.state, answer.text) == (AnswerState.STOPPED, "a")
    assert session.phase is Phase.READY


async def test_a_base_that_is_an_adapter_is_never_given_to_the_engine(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    wrong = Model("wrong:latest", model.adapters[0].path)
    session, notes = await opened(engine, wrong)
    assert engine.loads == []
    assert session.phase is Phase.EMPTY
    assert len(notes.told_sentences) == 1
    assert "is an adapter" in notes.told_sentences[0]


async def test_an_engine_that_is_gone_while_a_stack_is_applied_is_said(model: Model) -> None:
    engine = ScriptedEngine([["a"]])
    session, notes = await opened(engine, model)
    engine.stack_error = WorkerError("The worker process ended.")
    session.change_mix(session.mix.toggled("pirate"))
    await session.apply_mix()
    assert notes.told_sentences == ["The worker process ended."]
    engine.stack_error = None
    session.change_mix(session.mix.toggled("pirate"))
    await session.apply_mix()
    assert session.is_applied
    assert engine.stacks[-1].label == "pirate 1.00"


async def test_the_question_before_the_model_is_answered_after_it(model: Model) -> None:
    engine = ScriptedEngine([["a"]], load_gate=asyncio.Event())
    session = ChatSession(engine, Notes())
    opening = asyncio.create_task(session.open(model))
    await reached(session, Phase.LOADING)
    assert session.ask("Hi")
    assert session.is_waiting
    assert not session.ask("Two")
    assert engine.load_gate is not None
    engine.load_gate.set()
    await opening
    assert session.conversation.last_answer is not None
    assert session.conversation.last_answer.text == "a"


async def test_a_question_before_the_load_has_begun_waits_too(model: Model) -> None:
    session = ChatSession(ScriptedEngine([["a"]]), Notes())
    session.expect(model)
    assert session.ask("Hi")
    assert session.is_waiting
    await session.open(model)
    assert session.conversation.last_answer is not None
    assert session.conversation.last_answer.text == "a"


async def test_an_expected_model_that_cannot_be_loaded_leaves_none(model: Model) -> None:
    notes = Notes()
    session = ChatSession(ScriptedEngine([["a"]], load_error=BaseError("It is gone.")), notes)
    session.expect(model)
    await session.open(model)
    assert session.phase is Phase.EMPTY
    assert notes.told_sentences == ["It is gone."]
