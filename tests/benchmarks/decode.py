"""Decode speed on the demo: through the worker against in-process, and per number of adapters."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from engine.adapters.read import read_adapter
from engine.client import EngineClient
from engine.generation import generate
from engine.protocol import ChatMessage, Finished, LoadSpec
from engine.runtime import Runtime
from engine.stack import AdapterStack, stack_of
from modelfiles.library import Library
from modelfiles.parameters import Parameters
from modelfiles.paths import state_home

ASK = (ChatMessage("user", "Tell me a story about a fox."),)
# No stop: every run decodes the same number of tokens.
PARAMETERS = Parameters(temperature=1.5, seed=1, num_predict=200)
N_RUNS = 7


async def measure() -> list[str]:
    """Return lines of medians and ratios."""
    model = Library(state_home()).get("demo")
    spec = LoadSpec(str(model.base), Parameters(num_thread=1, num_ctx=512))
    adapters = [read_adapter(adapter.path, adapter.name) for adapter in model.adapters]
    stacks = [stack_of([(a, 0.5) for a in adapters[:n]]) for n in (0, 1, 2, len(adapters))]
    client = EngineClient()
    await client.load(spec)
    lines = []
    base_rate = 0.0
    with Runtime(spec) as runtime:
        for stack in stacks:
            here, there = [], []
            # Taken in turn, so that other work on the machine falls on both alike.
            for _ in range(N_RUNS):
                here.append(_in_process(runtime, stack))
                there.append(await _through(client, stack))
            rate = median(there)
            base_rate = base_rate or rate
            plural = "adapter" if len(stack) == 1 else "adapters"
            lines.append(
                f"decode, {len(stack)} {plural}: {rate:.0f} tokens/s, {rate / base_rate:.2f} of "
                f"none; worker against in-process {rate / median(here):.2f}"
            )
    await client.close()
    return lines


def _in_process(runtime: Runtime, stack: AdapterStack) -> float:
    runtime.set_stack(stack)
    return _rate(generate(runtime, ASK, PARAMETERS))


async def _through(client: EngineClient, stack: AdapterStack) -> float:
    await client.set_stack(stack)
    return _rate(iter([event async for event in client.generate(ASK, PARAMETERS)]))


def _rate(events: Iterator[object]) -> float:
    finished = [event for event in events if isinstance(event, Finished)]
    return finished[0].stats.decode_tokens_per_s
