"""Set up engines for a measurement, and check the form in which they serve a stack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.protocol.settings import EngineSettings, FuseMode
from engine.protocol.values import BaseReference, Form, GenerationStats, LoadSpec
from engine.runtime.runtime import Runtime
from engine.stack import AdapterStack, stack_of
from engine.worker.client import EngineClient
from modelfiles.parameters import Parameters
from tests.benchmarks.conversation import greedy
from tests.benchmarks.measurement import note
from tests.benchmarks.plan import Plan
from tests.benchmarks.shapes import Files

SCALE = 0.5


def spec_of(files: Files, plan: Plan, n_ctx: int) -> LoadSpec:
    """Return the load spec of a base for a measurement."""
    return LoadSpec(
        BaseReference(str(files.base)), Parameters(num_ctx=n_ctx, num_thread=plan.num_thread)
    )


def stack_of_first(files: Files, n: int, scale: float = SCALE) -> AdapterStack:
    """Return the stack of the first `n` adapters."""
    return stack_of([(adapter, scale) for adapter in files.adapters[:n]])


def quiet(fuse: FuseMode) -> EngineSettings:
    """Return settings under which an engine does no unrequested work."""
    return EngineSettings(fuse=fuse, prepares=False, kv_memory_bytes=0)


@asynccontextmanager
async def client_for(spec: LoadSpec, settings: EngineSettings) -> AsyncIterator[EngineClient]:
    """Yield a client whose worker has loaded the base; close it at the end."""
    client = EngineClient()
    try:
        await client.configure(settings)
        await client.load(spec)
        yield client
    finally:
        await client.close()


def runtime_for(spec: LoadSpec, settings: EngineSettings) -> Runtime:
    """Return a runtime in this process under `settings`."""
    return Runtime(spec, settings=settings)


async def settle(client: EngineClient) -> None:
    """Wait until the worker has finished its background work on a stack, such as fusing it."""
    async for _ in client.settle(greedy((), 1)):
        pass


def is_form(stats: GenerationStats, form: Form, n: int) -> bool:
    """Return whether an answer was served in the expected form; print a note if not."""
    if stats.form == form:
        return True
    note(f"{adapters_text(n)}: served as {stats.form!r} instead of {form!r}, so not measured")
    return False


def adapters_text(n: int) -> str:
    """Return a number of adapters in words."""
    return "1 adapter" if n == 1 else f"{n} adapters"
