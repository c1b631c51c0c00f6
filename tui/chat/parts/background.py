"""Run work in daemon threads, so that quitting never waits for the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def in_background(function: Callable[[], _Result]) -> _Result:
    """Run `function` in a daemon thread of its own and return or raise its outcome.

    `asyncio.to_thread` would delay the end of the program until a pending request has timed out.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        tell: Callable[[], None]
        try:
            tell = partial(_returned, ended, function())
        except Exception as error:  # passed to the awaiter, whatever it is
            tell = partial(_failed, ended, error)
        with suppress(RuntimeError):  # the loop is closed: the program has ended
            loop.call_soon_threadsafe(tell)

    Thread(target=run, daemon=True).start()
    return await ended


def _returned(ended: asyncio.Future[_Result], result: _Result) -> None:
    if not ended.done():
        ended.set_result(result)


def _failed(ended: asyncio.Future[Any], error: Exception) -> None:
    if not ended.done():
        ended.set_exception(error)
