"""What the worker makes ready while nobody waits, and how it gives way to a request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from engine.errors import EngineError, WorkerError
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import (
    EffectMeasured,
    Event,
    Finished,
    FormChosen,
    PromptProgress,
    Settled,
    SettleEvent,
    StackApplied,
)
from engine.protocol.requests import Load, SetStack, Settle
from engine.protocol.settings import EngineSettings
from engine.protocol.values import ChatMessage
from engine.stack import AdapterStack, stack_of
from engine.worker.__main__ import Worker
from engine.worker.client import EngineClient
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny

GREEDY = Parameters(temperature=0.0, num_predict=8)
TALK = (
    ChatMessage("user", "Tell me a story of a fox. " * 8),
    ChatMessage("assistant", "There was a fox. " * 8),
)
NEXT = (*TALK, ChatMessage("user", "Go on."))


@asynccontextmanager
async def opened(
    tiny: Tiny, settings: EngineSettings | None = None, **parameters: object
) -> AsyncIterator[EngineClient]:
    client = EngineClient()
    try:
        if settings is not None:
            await client.configure(settings)
        await client.load(tiny.spec(**parameters))
        yield client
    finally:
        await client.close()


async def answer(client: EngineClient, messages: tuple[ChatMessage, ...] = NEXT) -> Finished:
    last = [event async for event in client.generate(ChatRequest(messages, GREEDY))][-1]
    assert isinstance(last, Finished)
    assert last.reason != "failed", last.error
    return last


async def settled(
    client: EngineClient, messages: tuple[ChatMessage, ...] = TALK, delay_s: float = 0.0
) -> list[SettleEvent]:
    request = ChatRequest(messages, GREEDY)
    return [event async for event in client.settle(request, delay_s)]


def ending(events: Sequence[SettleEvent]) -> Settled:
    last = events[-1]
    assert isinstance(last, Settled)
    return last


def forms(events: Sequence[SettleEvent]) -> list[tuple[str, str, str]]:
    """Return digest, form and reason of every word on the form."""
    return [(e.digest, e.form, e.reason) for e in events if isinstance(e, FormChosen)]


async def test_a_conversation_evaluated_before_the_question_is_not_evaluated_again(
    tiny: Tiny,
) -> None:
    async with opened(tiny) as client:
        await client.set_stack(stack_of([(tiny.first, 1.0)]))
        cold = await answer(client)
        await client.set_stack(stack_of([(tiny.first, 0.5)]))
        events = await settled(client)
        assert ending(events).is_complete
        progress = [event for event in events if isinstance(event, PromptProgress)]
        assert progress[-1].n_done == progress[-1].n_total == ending(events).n_ready > 200
        warm = await answer(client)
    assert cold.stats.n_reused == 0
    assert warm.stats.n_reused >= ending(events).n_ready
    assert warm.stats.n_prompt - warm.stats.n_reused < 32


async def test_what_was_made_ready_does_not_change_the_answer(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0), (tiny.second, -0.5)])
    async with opened(tiny) as client:
        await client.set_stack(stack)
        plain = await answer(client)
    async with opened(tiny) as client:
        await client.set_stack(stack)
        assert ending(await settled(client)).is_complete
        assert (await answer(client)).text == plain.text


async def test_an_empty_conversation_settles_too(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        await client.set_stack(stack_of([(tiny.first, 1.0)]))
        assert ending(await settled(client, ())).is_complete


async def test_a_conversation_that_ends_in_a_question_is_made_ready_as_it_is(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        n_ready = ending(await settled(client, NEXT)).n_ready
        done = await answer(client)
    assert n_ready == done.stats.n_prompt == done.stats.n_reused + 1


async def test_without_prepares_only_form_and_effect_are_looked_after(tiny: Tiny) -> None:
    async with opened(tiny, EngineSettings(prepares=False)) as client:
        await client.set_stack(stack_of([(tiny.first, 1.0), (tiny.second, 1.0)]))
        events = await settled(client)
        assert not any(isinstance(event, PromptProgress) for event in events)
        assert any(isinstance(event, EffectMeasured) for event in events)
        assert (await answer(client)).stats.n_reused == 0


async def test_the_effect_belongs_to_the_stack_and_names_every_adapter(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0), (tiny.second, 0.0)])
    async with opened(tiny) as client:
        await client.set_stack(stack)
        effects = [e for e in await settled(client) if isinstance(e, EffectMeasured)]
        assert {effect.digest for effect in effects} == {stack.digest}
        assert effects[-1].effect_nats > 0.0
        assert [effect.sha256 for effect in effects[-1].adapters] == [tiny.first.sha256]
        assert effects[-1].adapters[0].n_used == effects[-1].adapters[0].n_tensors == 14
        await client.set_stack(AdapterStack())
        assert not any(isinstance(e, EffectMeasured) for e in await settled(client))


async def test_the_form_is_chosen_by_measured_cost(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0), (tiny.second, 1.0)])
    async with opened(tiny) as client:
        await client.set_stack(stack)
        chosen = [e for e in await settled(client) if isinstance(e, FormChosen)]
        assert len(chosen) == 1
        assert chosen[0].digest == stack.digest
        assert "decode" in chosen[0].reason
        assert (await answer(client)).stats.form == chosen[0].form
        # Scales cost nothing, so another scale needs no other measurement: the words are the same.
        rescaled = stack.with_scale("first", 0.5)
        await client.set_stack(rescaled)
        again = forms(await settled(client))
        assert again == [(rescaled.digest, chosen[0].form, chosen[0].reason)]


@pytest.mark.parametrize(("fuse", "form"), [("always", "fused"), ("never", "layered")])
async def test_a_setting_forces_either_form(tiny: Tiny, fuse: str, form: str) -> None:
    stack = stack_of([(tiny.first, 1.0), (tiny.second, 1.0)])
    async with opened(tiny, EngineSettings(fuse=fuse)) as client:
        assert (await client.set_stack(stack)).form == form
        assert forms(await settled(client)) == [(stack.digest, form, "")]
        assert (await answer(client)).stats.form == form
        await client.configure(EngineSettings(fuse="never"))
        assert forms(await settled(client)) == [(stack.digest, "layered", "")]
        assert (await answer(client)).stats.form == "layered"


async def test_any_request_ends_the_settling(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        waiting = asyncio.create_task(settled(client, delay_s=3600.0))
        await asyncio.sleep(0)
        done = await answer(client)
        assert done.reason == "length"
        assert not ending(await waiting).is_complete
        waiting = asyncio.create_task(settled(client, delay_s=3600.0))
        await asyncio.sleep(0)
        await client.set_stack(AdapterStack())
        assert not ending(await waiting).is_complete


async def test_settling_that_nobody_listens_to_any_more_ends(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        waiting = asyncio.create_task(settled(client, delay_s=3600.0))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ending(await settled(client)).is_complete


async def test_with_no_base_there_is_nothing_to_make_ready() -> None:
    client = EngineClient()
    assert await settled(client) == [Settled(1, is_complete=False)]
    assert client.worker_pid is None


async def test_a_worker_that_dies_meanwhile_starts_again_with_the_next_question(
    tiny: Tiny,
) -> None:
    async with opened(tiny, EngineSettings(fuse="always")) as client:
        await client.set_stack(stack_of([(tiny.first, 1.0), (tiny.second, 1.0)]))
        waiting = asyncio.create_task(settled(client, delay_s=3600.0))
        await asyncio.sleep(0)
        assert client.worker_pid is not None
        os.kill(client.worker_pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="SIGKILL"):
            await waiting
        # Base, stack and settings are as they were.
        assert (await answer(client)).stats.form == "fused"


async def test_after_a_restart_without_adapters_it_goes_on_in_the_background(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        assert client.worker_pid is not None
        os.kill(client.worker_pid, signal.SIGKILL)
        first = [event async for event in client.generate(ChatRequest(TALK[:1], GREEDY))][-1]
        if isinstance(first, Finished) and first.reason == "failed":
            await answer(client)  # the death was only noticed by the question
        assert ending(await settled(client)).is_complete


class Sent:
    """Where a worker writes its events."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def write(self, line: bytes) -> None:
        self._lines.put(line)

    def flush(self) -> None:
        """Do nothing: what is written is there at once."""

    def next_of(self, kind: type[Event]) -> Event | None:
        """Wait for the next event of that kind; None where none comes."""
        with contextlib.suppress(queue.Empty):
            while True:
                event = msgspec.json.decode(self._lines.get(timeout=60), type=Event)
                if isinstance(event, kind):
                    return event
        return None


@pytest.mark.parametrize("error", [EngineError("There is no such number."), MemoryError()])
def test_background_work_that_fails_costs_nothing_but_itself(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_arguments: object) -> Iterator[None]:
        yield
        raise error

    sent = Sent()
    seen: list[Event | None] = []

    def requests() -> Iterator[bytes]:
        yield msgspec.json.encode(Load(6, tiny.spec()))
        yield msgspec.json.encode(Settle(7, ChatRequest(TALK, GREEDY)))
        seen.append(sent.next_of(Settled))
        yield msgspec.json.encode(SetStack(8, AdapterStack()))
        seen.append(sent.next_of(StackApplied))

    monkeypatch.setattr("engine.worker.__main__.settle", failing)
    Worker(requests(), sent).run()
    settled, applied = seen
    assert settled == Settled(7, is_complete=False)
    assert isinstance(applied, StackApplied), "the base is still there"


async def test_a_template_that_cannot_render_is_left_to_the_answer(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        steps = client.settle(ChatRequest(TALK, GREEDY, "{{ shout }}"))
        assert ending([event async for event in steps]).is_complete


async def test_what_was_read_yesterday_is_there_today_where_the_settings_say_so(
    tiny: Tiny, tmp_path: Path
) -> None:
    stack = stack_of([(tiny.first, 1.0)])
    settings = EngineSettings(cache_folder=str(tmp_path), kv_disk_bytes=2**24)
    for is_today in (False, True):
        async with opened(tiny, settings) as client:
            await client.set_stack(stack)
            done = await answer(client)
        assert (done.stats.n_reused == done.stats.n_prompt - 1) == is_today
    async with opened(tiny) as client:
        await client.set_stack(stack)
        assert (await answer(client)).text == done.text
    files = [path for path in (tmp_path / "kv").rglob("*") if path.is_file()]
    # They hold a conversation.
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


async def test_loading_a_base_again_goes_on_from_what_was_written(
    tiny: Tiny, tmp_path: Path
) -> None:
    settings = EngineSettings(cache_folder=str(tmp_path), kv_disk_bytes=2**24)
    async with opened(tiny, settings) as client:
        await answer(client)
        await client.load(tiny.spec())
        done = await answer(client)
    assert done.stats.n_reused == done.stats.n_prompt - 1
