"""What all tests share: event loops of their own, and no models but those they make."""

from __future__ import annotations

import asyncio
import inspect
import os

import pytest


@pytest.fixture(autouse=True)
def _without_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the models that Ollama may have on the machine of whoever runs the tests."""
    monkeypatch.setenv("OLLAMA_MODELS", os.devnull)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end; leave every other test to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
