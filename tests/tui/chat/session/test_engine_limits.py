"""An engine that cannot do everything: the chat says so in one sentence and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.protocol.capabilities import Capabilities
from modelfiles.model import Model
from tests.support.chat import chat, notices, ready, tiny_model, wait_until
from tests.support.scripted_engine import ScriptedEngine
from tests.support.session import opened
from tui.chat.session.session import ChatSession
from tui.settings import Settings, toggled_live

ONE_AT_A_TIME = "This engine applies one adapter at a time: switch another off first."
NO_ADAPTERS = "This engine runs the bare base: it applies no adapters."
NO_SCALES = "This engine applies every adapter at scale 1.00: switch it on or off instead."
NO_LIVE = "This engine changes the stack between answers only."


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal")


def engine_with(**able: object) -> ScriptedEngine:
    return ScriptedEngine([["Yes."]], capabilities=Capabilities(**able))


async def change(session: ChatSession, name: str, scale: float) -> None:
    if session.change_mix(session.mix.with_scale(name, scale)):
        await session.apply_mix()


async def test_more_adapters_than_the_engine_applies_are_refused_and_fewer_are_not(
    model: Model,
) -> None:
    engine = engine_with(n_adapters=1)
    session, notes = await opened(engine, model)
    await change(session, "pirate", 1.0)
    await change(session, "formal", 1.0)
    assert session.mix.stack.label == "pirate 1.00"
    assert notes.told_sentences == [ONE_AT_A_TIME]
    await change(session, "pirate", 0.0)
    await change(session, "formal", 1.0)
    assert [stack.label for stack in engine.stacks] == [
        "base",
        "pirate 1.00",
        "base",
        "formal 1.00",
    ]
    assert len(notes.told_sentences) == 1


async def test_a_stack_that_is_too_large_from_its_model_can_be_made_smaller(
    tmp_path: Path,
) -> None:
    session, notes = await opened(
        engine_with(n_adapters=1), tiny_model(tmp_path, "a", "b", "c", scale=1.0)
    )
    await change(session, "a", 0.0)
    assert session.mix.stack.label == "b 1.00 + c 1.00"
    await change(session, "a", 1.0)
    assert session.mix.stack.label == "b 1.00 + c 1.00"
    assert notes.told_sentences == [ONE_AT_A_TIME]


async def test_other_scales_than_one_are_refused_where_there_are_none(model: Model) -> None:
    session, notes = await opened(engine_with(can_rescale=False), model)
    for scale in (1.0, 0.7, 0.0):
        await change(session, "pirate", scale)
        assert session.mix.stack.find("pirate").scale in (1.0, 0.0)
    assert notes.told_sentences == [NO_SCALES]


async def test_a_change_within_an_answer_is_refused_where_there_is_none(model: Model) -> None:
    engine = engine_with(can_change_answer=False)
    session, notes = await opened(engine, model)
    assert not await session.configure(toggled_live)
    assert not session.settings.live
    assert notes.told_sentences == [NO_LIVE]
    assert len(engine.settings) == 1, "the engine was asked all the same"


async def test_nothing_is_prepared_where_nothing_can_be(model: Model) -> None:
    engine = engine_with(can_prepare=False)
    session, notes = await opened(engine, model, Settings(prepare=False))
    session.ask("Hi")
    await session.answer()
    await session.close()
    assert engine.settles == []
    assert not await session.configure(lambda _: Settings(prepare=True))
    assert notes.told_sentences == ["This engine prepares nothing in the background."]


@pytest.mark.parametrize(
    ("able", "keys", "sentence"),
    [
        ({"n_adapters": 0}, ("tab", "plus"), NO_ADAPTERS),
        ({"n_adapters": 0}, ("ctrl+f",), NO_ADAPTERS),
        (
            {"can_inspect": False},
            ("tab", "i"),
            "This engine cannot read the adapters' weights, so it inspects none.",
        ),
        ({"can_change_answer": False}, ("tab", "l"), NO_LIVE),
    ],
)
async def test_a_key_for_what_the_engine_cannot_do_says_so(
    model: Model, able: dict[str, object], keys: tuple[str, ...], sentence: str
) -> None:
    async with chat(engine_with(**able), model) as (app, pilot):
        await pilot.press(*keys)
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert notices(app) == [sentence]
        assert app.screen is app.chat
        await ready(app, pilot)
