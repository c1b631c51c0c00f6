"""A stack changed while an answer is written, and a cache kept over a swap: both approximate."""

from __future__ import annotations

import asyncio

import msgspec

from engine.errors import AdapterError
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished, StackApplied, Tokens
from engine.protocol.settings import EngineSettings
from engine.protocol.values import ChatMessage
from engine.stack import AdapterStack, stack_of
from engine.worker.client import EngineClient
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny
from tests.engine.runtime.test_idle_work import answer, opened

ASK = (ChatMessage("user", "Tell me something."),)
LONG = Parameters(temperature=0.0, num_predict=400)


async def changed_meanwhile(
    client: EngineClient, stack: AdapterStack
) -> tuple[Finished, StackApplied, bool]:
    """Set `stack` after the first piece; also tell whether it took effect before the end."""
    change: asyncio.Task[StackApplied] | None = None
    was_done = False
    last: object = None
    async for event in client.generate(ChatRequest(ASK, LONG)):
        if isinstance(event, Tokens) and change is None:
            change = asyncio.create_task(client.set_stack(stack))
        was_done = change is not None and change.done()
        last = event
    assert change is not None
    assert isinstance(last, Finished)
    return last, await change, was_done


async def whole(client: EngineClient, messages: tuple[ChatMessage, ...] = ASK) -> Finished:
    last = [event async for event in client.generate(ChatRequest(messages, LONG))][-1]
    assert isinstance(last, Finished)
    return last


async def test_with_live_a_change_applies_within_the_answer(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0)])
    async with opened(tiny, EngineSettings(is_live=True), num_ctx=2048) as client:
        plain = await whole(client)
        mixed, applied, was_done = await changed_meanwhile(client, stack)
        assert was_done
        assert applied.digest == stack.digest
        assert mixed.stats.is_approximate
        assert mixed.text != plain.text
        common = len([1 for a, b in zip(mixed.text, plain.text, strict=False) if a == b])
        assert common > 0


async def test_what_was_mixed_is_not_reused_as_if_it_were_exact(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0)])
    async with opened(tiny, num_ctx=2048) as client:
        await client.set_stack(stack)
        cold = await whole(client)
    async with opened(tiny, EngineSettings(is_live=True), num_ctx=2048) as client:
        await changed_meanwhile(client, stack)
        after = await whole(client)
    assert after.text == cold.text
    assert not after.stats.is_approximate
    assert after.stats.n_reused == 0


async def test_without_live_a_change_waits_for_the_end_of_the_answer(tiny: Tiny) -> None:
    async with opened(tiny, num_ctx=2048) as client:
        plain = await whole(client)
        done, applied, was_done = await changed_meanwhile(client, stack_of([(tiny.first, 1.0)]))
        assert not was_done
        assert (done.text, done.stats.is_approximate) == (plain.text, False)
        assert applied.form == "single"


async def test_a_stack_refused_in_the_middle_leaves_the_answer_as_it_is(tiny: Tiny) -> None:
    wrong = msgspec.structs.replace(tiny.first, sha256="0" * 64, name="wrong")
    async with opened(tiny, EngineSettings(is_live=True), num_ctx=2048) as client:
        plain = await whole(client)
        change: asyncio.Task[StackApplied] | None = None
        last: object = None
        async for event in client.generate(ChatRequest(ASK, LONG)):
            if isinstance(event, Tokens) and change is None:
                change = asyncio.create_task(client.set_stack(stack_of([(wrong, 1.0)])))
            last = event
        assert isinstance(last, Finished)
        assert (last.text, last.stats.is_approximate) == (plain.text, False)
        assert change is not None
        assert isinstance((await asyncio.gather(change, return_exceptions=True))[0], AdapterError)


async def test_keep_goes_on_from_the_cache_of_the_stack_before(tiny: Tiny) -> None:
    async with opened(tiny, EngineSettings(swap="keep")) as client:
        first = await answer(client)
        assert not first.stats.is_approximate
        await client.set_stack(stack_of([(tiny.first, 1.0)]))
        kept = await answer(client)
        assert kept.stats.is_approximate
        assert kept.stats.n_reused == kept.stats.n_prompt - 1
        # The mode is left: the next answer is exact again.
        await client.configure(EngineSettings(swap="evaluate"))
        exact = await answer(client)
        assert not exact.stats.is_approximate
        assert exact.stats.n_reused == 0


async def test_live_can_be_switched_on_while_an_answer_is_written(tiny: Tiny) -> None:
    async with opened(tiny, num_ctx=2048) as client:
        plain = await whole(client)
        change: asyncio.Task[StackApplied] | None = None
        last: object = None
        async for event in client.generate(ChatRequest(ASK, LONG)):
            if isinstance(event, Tokens) and change is None:
                await client.configure(EngineSettings(is_live=True))
                change = asyncio.create_task(client.set_stack(stack_of([(tiny.first, 1.0)])))
            last = event
        assert change is not None
        await change
    assert isinstance(last, Finished)
    assert last.stats.is_approximate
    assert last.text != plain.text


async def test_a_stack_never_overtakes_one_that_was_set_before_it(tiny: Tiny) -> None:
    earlier, later = stack_of([(tiny.first, 1.0)]), stack_of([(tiny.second, 1.0)])
    async with opened(tiny, num_ctx=2048) as client:
        await client.set_stack(later)
        cold = await whole(client)
    async with opened(tiny, num_ctx=2048) as client:
        changes: list[asyncio.Task[StackApplied]] = []
        async for event in client.generate(ChatRequest(ASK, LONG)):
            if isinstance(event, Tokens) and not changes:
                changes.append(asyncio.create_task(client.set_stack(earlier)))
                await asyncio.sleep(0)  # it is sent, and waits for the end of the answer
                await client.configure(EngineSettings(is_live=True))
                changes.append(asyncio.create_task(client.set_stack(later)))
        await asyncio.gather(*changes)
        assert (await whole(client)).text == cold.text
