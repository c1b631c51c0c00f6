"""Measure the time to the first token after a change of the stack, by what was evaluated before."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import aclosing

from engine.protocol.events import Finished, PromptProgress, Settled, Tokens
from engine.protocol.settings import EngineSettings
from engine.protocol.values import ChatMessage
from engine.stack import AdapterStack, stack_of
from engine.worker.client import EngineClient
from tests.benchmarks.conversation import Cost, Prompts, ask_client, greedy
from tests.benchmarks.engines import SCALE, client_for, spec_of
from tests.benchmarks.measurement import Report, Unit, middle, progress, ratio
from tests.benchmarks.plan import Plan
from tests.benchmarks.shapes import Files

Messages = tuple[ChatMessage, ...]

N_CTX = 2560
CONTEXTS = (512, 2048)
CONTEXTS_QUICK = (64, 256)
RESCALE_CONTEXTS = (32, 512)
RESCALE_CONTEXTS_QUICK = (32,)
N_PREDICT = 2
N_PREDICT_LIVE = 24
"""Tokens of an answer during which a scale changes."""
N_RETURNS = 4
N_LAST = 16
"""Tokens of the last answer and question at the end of a conversation."""

KINDS = {
    "cold": "evaluated at once",
    "background": "evaluated in the background before asking",
    "returned": "returned to",
}
"""What was evaluated under the stack before the question. Times start at the swap, but in the
second case at the question, long after the swap."""


async def measure(report: Report, plan: Plan) -> None:
    """Measure every shape."""
    for files in plan.files():
        async with client_for(spec_of(files, plan, N_CTX), EngineSettings()) as client:
            swaps = _Swaps(client, files, plan)
            await _measure_swaps(report, swaps, plan)
            await _measure_rescales(report, swaps, plan)


class _Swaps:
    """A client that swaps between two stacks of two adapters."""

    def __init__(self, client: EngineClient, files: Files, plan: Plan) -> None:
        self.client = client
        self.files = files
        self.n_rounds = plan.n_rounds(files.shape.n_swap_rounds)
        self._prompts = Prompts()
        pairs = [(adapter, SCALE) for adapter in files.adapters]
        self.first, self.second = stack_of(pairs[0:2]), stack_of(pairs[2:4])

    def conversation(self, n_tokens: int) -> Messages:
        """Return a new conversation of `n_tokens` with a short last question."""
        (start,) = self._prompts.next(n_tokens - N_LAST)
        question = ChatMessage("user", "?" * (N_LAST - 4))
        return (start, ChatMessage("assistant", "OK"), question)

    async def ask(self, stack: AdapterStack, messages: Messages) -> tuple[float, Cost]:
        """Swap and ask at once; return the seconds from swap to first token, and the cost."""
        started_s = time.perf_counter()
        await self.client.set_stack(stack)
        applied_s = time.perf_counter() - started_s
        cost = await ask_client(self.client, messages, N_PREDICT)
        return applied_s + cost.first_token_s, cost

    async def prepare(self, messages: Messages) -> tuple[float, bool]:
        """Evaluate in the background; return its duration and whether anything is ready."""
        started_s, evaluated_s, n_ready = time.perf_counter(), 0.0, 0
        async for event in self.client.settle(greedy(messages, N_PREDICT)):
            if isinstance(event, Settled):
                n_ready = event.n_ready
            elif isinstance(event, PromptProgress):
                evaluated_s = time.perf_counter() - started_s
        return evaluated_s, n_ready > 0

    async def round(self, n_tokens: int) -> dict[str, list[float]]:
        """Return seconds to the first token by kind, for one new conversation."""
        seconds: dict[str, list[float]] = defaultdict(list)
        messages = self.conversation(n_tokens)
        first_s, _ = await self.ask(self.first, messages)
        seconds["cold"].append(first_s)

        await self.client.set_stack(self.second)
        evaluation_s, is_ready = await self.prepare(messages[:-1])
        cost = await ask_client(self.client, messages, N_PREDICT)
        if is_ready and _is_reused(cost):
            seconds["background"].append(cost.first_token_s)
            seconds["evaluation"].append(evaluation_s)

        for n in range(N_RETURNS):
            first_s, cost = await self.ask((self.first, self.second)[n % 2], messages)
            if not _is_reused(cost):
                break  # the engine evaluated the prompt again, so it keeps no snapshots
            seconds["returned"].append(first_s)
        return seconds

    async def rescale_live(self, stack: AdapterStack, messages: Messages) -> float | None:
        """Set a stack during an answer; return the seconds until it takes effect.

        Returns None if the engine finishes the answer first.
        """
        is_live, applied_s = False, 0.0
        async with aclosing(self.client.generate(greedy(messages, N_PREDICT_LIVE))) as events:
            async for event in events:
                if isinstance(event, Tokens) and not applied_s:
                    started_s = time.perf_counter()
                    await self.client.set_stack(stack)
                    applied_s = time.perf_counter() - started_s
                elif isinstance(event, Finished):
                    is_live = event.stats.is_approximate
        return applied_s if is_live else None


def _is_reused(cost: Cost) -> bool:
    """Return whether all but the last few tokens of the prompt were in the KV cache."""
    return cost.stats.n_prompt - cost.stats.n_reused <= 2 * N_LAST


async def _measure_swaps(report: Report, swaps: _Swaps, plan: Plan) -> None:
    shape = swaps.files.shape
    rows = []
    for n_tokens in CONTEXTS_QUICK if plan.is_quick else CONTEXTS:
        rounds = []
        for n in range(swaps.n_rounds):
            progress(f"swap, {shape.key}, {n_tokens} tokens: round {n + 1} of {swaps.n_rounds}")
            rounds.append(await swaps.round(n_tokens))
        key = f"swap_{shape.key}_{n_tokens}_tokens"
        cold = [found["cold"][0] for found in rounds]
        for kind, title in KINDS.items():
            samples = [seconds for found in rounds for seconds in found[kind]]
            each = [middle(found[kind]) for found in rounds]
            row = [f"{n_tokens} tokens, {title}"]
            row.append(report.add(f"{key}_{kind}_first_token", middle(samples), Unit.SECONDS))
            if kind == "cold":
                row.append("")
            else:
                pairs = [(a, b) for a, b in zip(cold, each, strict=True) if b is not None]
                faster = ratio([a for a, _ in pairs], [b for _, b in pairs])
                row.append(report.add(f"{key}_cold_over_{kind}", faster))
            rows.append(row)
        evaluation = [seconds for found in rounds for seconds in found["evaluation"]]
        report.add(f"{key}_background_work", middle(evaluation), Unit.SECONDS)
    header = ("two adapters", "first token", "times faster")
    report.table(f"from a swap to the first token: {shape.title}", header, rows)


async def _measure_rescales(report: Report, swaps: _Swaps, plan: Plan) -> None:
    shape = swaps.files.shape
    rows = []
    for n_tokens in RESCALE_CONTEXTS_QUICK if plan.is_quick else RESCALE_CONTEXTS:
        progress(f"rescale, {shape.key}, {n_tokens} tokens")
        exact: list[float] = []
        kept: list[float] = []
        live: list[float] = []
        for n in range(swaps.n_rounds):
            messages = swaps.conversation(n_tokens)
            await swaps.ask(swaps.first, messages)
            first_s, _ = await swaps.ask(_rescaled(swaps.first, n, 0.3), messages)
            exact.append(first_s)
            await swaps.client.configure(EngineSettings(swap="keep"))
            first_s, cost = await swaps.ask(_rescaled(swaps.first, n, 0.7), messages)
            if cost.stats.is_approximate:
                kept.append(first_s)
            # Back to what was evaluated, so that only the change within the answer is approximate.
            await swaps.client.configure(EngineSettings(is_live=True))
            await swaps.ask(swaps.first, messages)
            live_s = await swaps.rescale_live(_rescaled(swaps.first, n, 0.9), messages)
            live += [live_s] if live_s is not None else []
            await swaps.client.configure(EngineSettings())
        key = f"rescale_{shape.key}_{n_tokens}_tokens"
        rows += [
            [
                f"{n_tokens} tokens, evaluated at once",
                report.add(f"{key}_first_token", middle(exact), Unit.SECONDS),
            ],
            [
                f"{n_tokens} tokens, on the old cache (approximate)",
                report.add(f"{key}_kept_first_token", middle(kept), Unit.SECONDS),
            ],
            [
                f"{n_tokens} tokens, within an answer (approximate)",
                report.add(f"{key}_live", middle(live), Unit.SECONDS),
            ],
        ]
    title = f"from a rescale to the first token under it: {shape.title}"
    report.table(title, ("two adapters", "time"), rows)


def _rescaled(stack: AdapterStack, n: int, scale: float) -> AdapterStack:
    """Return the stack with a scale of its first adapter that no earlier round had."""
    return stack.with_scale(stack.entries[0].adapter.name, scale + 0.01 * n)
