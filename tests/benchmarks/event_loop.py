"""Measure how long the client's event loop is blocked while the engine works.

A screen freezes for as long as its loop is blocked, so the longest gap counts, not the mean.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from engine.protocol.settings import EngineSettings
from engine.stack import AdapterStack
from engine.worker.client import EngineClient
from tests.benchmarks.conversation import Prompts, ask_client, greedy
from tests.benchmarks.engines import spec_of, stack_of_first
from tests.benchmarks.measurement import Report, Unit, progress
from tests.benchmarks.plan import Plan
from tests.benchmarks.shapes import Files

N_CTX = 1024
BEAT_S = 0.002
IDLE_S = 0.5
N_PROMPT, N_PREDICT = 512, 48
N_PROMPT_QUICK, N_PREDICT_QUICK = 64, 12


class Heartbeat:
    """Wakes up regularly and records its longest delay."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.computing_s = 0.0
        """CPU time of this thread in that gap; if it is far less, other processes had the cores."""

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            due_s, used_s = time.perf_counter() + BEAT_S, time.thread_time()
            await asyncio.sleep(BEAT_S)
            late_s = time.perf_counter() - due_s
            if late_s > self.longest_s:
                self.longest_s, self.computing_s = late_s, time.thread_time() - used_s


@asynccontextmanager
async def heartbeat() -> AsyncIterator[Heartbeat]:
    """Yield a heartbeat that runs during the block."""
    beat = Heartbeat()
    task = asyncio.create_task(beat.run())
    await asyncio.sleep(0)
    try:
        yield beat
    finally:
        await asyncio.sleep(0)  # also counts a beat delayed by the last step of the block
        await asyncio.sleep(BEAT_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(report: Report, plan: Plan) -> None:
    """Measure every shape."""
    for files in plan.files():
        rows = []
        client = EngineClient()
        try:
            for name, work in _work(client, files, plan).items():
                progress(f"event loop, {files.shape.key}: {name}")
                async with heartbeat() as beat:
                    await work()
                key = f"event_loop_{files.shape.key}_{name}_longest_gap"
                rows.append(
                    [
                        name.replace("_", " "),
                        report.add(key, beat.longest_s, Unit.SECONDS),
                        report.add(f"{key}_computing", beat.computing_s, Unit.SECONDS),
                    ]
                )
        finally:
            await client.close()
        title = f"event loop while the engine works: {files.shape.title}"
        report.table(title, ("work", "longest gap", "computing in it"), rows)


def _work(
    client: EngineClient, files: Files, plan: Plan
) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the engine's tasks by name, in order."""
    n_prompt = N_PROMPT_QUICK if plan.is_quick else N_PROMPT
    n_predict = N_PREDICT_QUICK if plan.is_quick else N_PREDICT
    prompts = Prompts()
    messages = prompts.next(n_prompt)

    async def idle() -> None:
        await asyncio.sleep(IDLE_S)

    async def start_and_load() -> None:
        await client.configure(EngineSettings(fuse="always"))
        await client.load(spec_of(files, plan, N_CTX))

    async def apply_8_adapters() -> None:
        await client.set_stack(stack_of_first(files, 8))

    async def settle() -> None:
        async for _ in client.settle(greedy(messages, 1)):
            pass

    async def evaluate() -> None:
        await ask_client(client, prompts.next(n_prompt), 1)

    async def decode() -> None:
        await ask_client(client, prompts.next(8), n_predict)

    async def swap_to_the_base() -> None:
        await client.set_stack(AdapterStack())

    return {
        "idle": idle,
        "start_and_load": start_and_load,
        "evaluate": evaluate,
        "decode": decode,
        "apply_8_adapters": apply_8_adapters,
        "settle_8_adapters": settle,
        "decode_8_adapters": decode,
        "swap_to_the_base": swap_to_the_base,
    }


NAMES = (
    "start_and_load",
    "evaluate",
    "decode",
    "apply_8_adapters",
    "settle_8_adapters",
    "decode_8_adapters",
    "swap_to_the_base",
)
"""The tasks that the goal covers: all but idling, which shows the delays of the machine itself."""
