"""Lets pytest run `async def` tests, each on an event loop of its own, and be interrupted."""

from __future__ import annotations

import asyncio
import inspect
import signal

import pytest


def pytest_configure() -> None:
    """Take Ctrl+C as a terminal's program does, also in a job that a shell put in the background.

    Such a job starts with SIGINT ignored, and so would every program that a test interrupts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end; leave every other test to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
