"""What all tests share: event loops of their own, and no models but those they make."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# One thread of BLAS for every process that tests start, those of pytest-xdist among them: two
# processes with two threads each on two cores take three times the CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples everywhere and no time limits, since machines differ by more than tests do.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("steady")


def pytest_configure() -> None:
    """Take Ctrl+C as a terminal's program does, also in a job that a shell put in the background.

    Such a job starts with SIGINT ignored, and so would every program that a test interrupts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
