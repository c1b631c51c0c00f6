"""Work in a thread of its own: its result and its error arrive, and nobody has to wait for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from engine.errors import HubError
from tui.chat.parts.background import in_background


async def test_what_the_function_returns_arrives_from_another_thread() -> None:
    thread = await in_background(threading.current_thread)
    assert thread is not threading.current_thread()
    assert thread.daemon


async def test_what_the_function_raises_is_raised() -> None:
    def fail() -> None:
        raise HubError("no")

    with pytest.raises(HubError, match="no"):
        await in_background(fail)


@pytest.mark.parametrize("is_failing", [False, True])
async def test_what_nobody_waits_for_any_more_ends_unheard(is_failing: bool) -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    def wait() -> str:
        may_end.wait(60)
        has_ended.set()
        if is_failing:
            raise HubError("late")
        return "late"

    task = asyncio.ensure_future(in_background(wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_end.set()
    while not has_ended.is_set():
        await asyncio.sleep(0)


def test_the_end_of_a_program_does_not_wait() -> None:
    may_end = threading.Event()
    ended: list[bool] = []

    def wait() -> None:
        ended.append(may_end.wait(60))

    async def leave() -> None:
        task = asyncio.ensure_future(in_background(wait))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert ended == []
    may_end.set()
