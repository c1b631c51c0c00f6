"""Work in threads that nobody waits for at the end: quitting never waits for the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def in_background(function: Callable[[], _Result]) -> _Result:
    """Return what `function` returns, or raise what it raises, in a daemon thread of its own.

    `asyncio.to_thread` would hold the end of the program back until a request has had its
    timeouts.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        tell: Callable[[], None]
        try:
            tell = partial(_returned, ended, function())
        except Exception as error:  # handed to whoever awaits, whatever it is
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
