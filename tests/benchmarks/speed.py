"""Measure prefill and decode speed for 0 to 8 adapters, in each way to run a stack."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from engine.protocol.values import Form
from engine.runtime.prompt import build_prompt
from engine.runtime.runtime import Runtime
from engine.worker.client import EngineClient
from tests.benchmarks.bare import BareCost, BareLoop
from tests.benchmarks.conversation import Cost, Prompts, ask_client, ask_runtime, greedy
from tests.benchmarks.engines import (
    SCALE,
    adapters_text,
    client_for,
    is_form,
    quiet,
    runtime_for,
    settle,
    spec_of,
    stack_of_first,
)
from tests.benchmarks.measurement import Report, Unit, in_turn, middle, progress, ratio
from tests.benchmarks.plan import Plan
from tests.benchmarks.shapes import Files

COUNTS = (0, 1, 2, 4, 8)
IN_PROCESS = (0, 1, 8)
"""Numbers of adapters for which the worker is compared with the same code in this process."""
BUDGET_S = 240.0
"""Time limit for the rounds of one shape, so that the whole run takes about ten minutes."""
N_CTX = 512
N_PREDICT = 48
N_PROMPT_QUICK, N_PREDICT_QUICK = 32, 12
N_WARM = 8
"""Tokens evaluated before a timed answer: the first evaluation after a change of adapters rebuilds
llama.cpp's graph (15 to 45 ms on a 135M model), which is a cost of the swap."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a number of adapters."""

    n: int
    name: str
    """`bare`: llama.cpp's own calls. `layered`, `fused`: through the client, in that form;
    `client` if a stack has only one form. `in_process`: the engine without a worker."""

    def __str__(self) -> str:
        return f"{adapters_text(self.n)}, {self.name}"


Speed = Cost | BareCost
Samples = dict[Way, list[Speed]]


async def measure(report: Report, plan: Plan) -> None:
    """Measure every shape."""
    for files in plan.files():
        progress(f"speed, {files.shape.title}: loading")
        samples = await _samples(files, plan)
        for phase in ("decode", "prefill"):
            _show(report, files, samples, phase)
        _show_overhead(report, files, samples)


async def _samples(files: Files, plan: Plan) -> Samples:
    spec = spec_of(files, plan, N_CTX)
    async with AsyncExitStack() as stack:
        one_by_one = await stack.enter_async_context(client_for(spec, quiet("never")))
        fused = await stack.enter_async_context(client_for(spec, quiet("always")))
        runtime = stack.enter_context(runtime_for(spec, quiet("always")))
        paths = [adapter.file for adapter in files.adapters]
        bare = stack.enter_context(BareLoop(files.base, paths, runtime))
        engines = _Engines(files, plan, one_by_one, fused, runtime, bare)
        return await in_turn(plan.n_rounds(files.shape.n_rounds), engines.ways(), BUDGET_S)


class _Engines:
    """All compared engines, each with the same base loaded."""

    def __init__(
        self,
        files: Files,
        plan: Plan,
        one_by_one: EngineClient,
        fused: EngineClient,
        runtime: Runtime,
        bare: BareLoop,
    ) -> None:
        self._files = files
        self._one_by_one, self._fused = one_by_one, fused
        self._runtime, self._bare = runtime, bare
        self._prompts = Prompts()
        self._n_prompt = N_PROMPT_QUICK if plan.is_quick else files.shape.n_prompt
        self._n_predict = N_PREDICT_QUICK if plan.is_quick else N_PREDICT

    def ways(self) -> dict[Way, Callable[[], Awaitable[Speed | None]]]:
        """Return the function that takes a sample, by way."""
        ways: dict[Way, Callable[[], Awaitable[Speed | None]]] = {}
        for n in COUNTS:
            ways[Way(n, "bare")] = partial(self._run_bare, n)
            if n < 2:
                form: Form = "single" if n else "none"
                ways[Way(n, "client")] = partial(self._ask, self._one_by_one, n, form)
            else:
                form = "fused"
                ways[Way(n, "layered")] = partial(self._ask, self._one_by_one, n, "layered")
                ways[Way(n, "fused")] = partial(self._ask, self._fused, n, "fused")
            if n in IN_PROCESS:
                ways[Way(n, "in_process")] = partial(self._ask_here, n, form)
        return ways

    async def _run_bare(self, n: int) -> BareCost:
        self._bare.apply(n, SCALE)
        self._bare.answer(self._tokens(N_WARM), 2)
        return self._bare.answer(self._tokens(self._n_prompt), self._n_predict)

    def _tokens(self, n_tokens: int) -> list[int]:
        messages = self._prompts.next(n_tokens)
        return build_prompt(self._runtime.model, greedy(messages, 1), N_CTX).tokens

    async def _ask(self, client: EngineClient, n: int, form: Form) -> Cost | None:
        await client.set_stack(stack_of_first(self._files, n))
        warm = await ask_client(client, self._prompts.next(N_WARM), 2)
        if warm.stats.form != form:
            await settle(client)
        cost = await ask_client(client, self._prompts.next(self._n_prompt), self._n_predict)
        return cost if is_form(cost.stats, form, n) else None

    async def _ask_here(self, n: int, form: Form) -> Cost | None:
        self._runtime.set_stack(stack_of_first(self._files, n))
        ask_runtime(self._runtime, self._prompts.next(N_WARM), 2)
        cost = ask_runtime(self._runtime, self._prompts.next(self._n_prompt), self._n_predict)
        return cost if is_form(cost.stats, form, n) else None


def _show(report: Report, files: Files, samples: Samples, phase: str) -> None:
    """Add the figures of prefill or decode, and show them with a row per number of adapters."""
    rates = {
        way: [getattr(speed, f"{phase}_tokens_per_s") for speed in speeds]
        for way, speeds in samples.items()
    }
    rows = []
    for n in COUNTS:
        key = f"{phase}_{files.shape.key}_{adapters_text(n).replace(' ', '_')}"
        own = "layered" if n > 1 else "client"
        bare, one_by_one, fused = (rates.get(Way(n, name), []) for name in ("bare", own, "fused"))
        columns = {
            "bare": (bare, None),
            own: (one_by_one, None),
            "fused": (fused, None),
            f"{own}_over_bare": (one_by_one, bare),
            "fused_over_bare": (fused, bare),
            "fused_over_layered": (fused, one_by_one),
            "fused_over_1_adapter": (fused, rates[Way(1, "client")]),
            # The total cost of the adapters, and so the most that any form could save.
            "none_over_bare": (rates[Way(0, "bare")], bare),
        }
        cells = [str(n)]
        for name, (above, below) in columns.items():
            if n < 2 and name.startswith("fused"):
                cells.append("")
            elif below is None:
                cells.append(report.add(f"{key}_{name}", middle(above), Unit.TOKENS_PER_S))
            else:
                cells.append(report.add(f"{key}_{name}", ratio(above, below)))
        rows.append(cells)
    header = ["adapters", "bare loop", "one by one", "fused", "one by one/bare"]
    header += ["fused/bare", "fused/one by one", "fused/1 adapter", "none/bare"]
    title = f"{phase}, tokens/s, in the bare loop and through the client"
    report.table(f"{title}: {files.shape.title}", header, rows)


def _show_overhead(report: Report, files: Files, samples: Samples) -> None:
    """Add the cost of the worker process per token, against the same code in this process."""
    rows = []
    for n in IN_PROCESS:
        name = "client" if n < 2 else "fused"
        there = [1 / sample.decode_tokens_per_s for sample in samples[Way(n, name)]]
        here = [1 / sample.decode_tokens_per_s for sample in samples[Way(n, "in_process")]]
        quotient = ratio(there, here)
        share = None if quotient is None else quotient - 1.0
        extra = [a - b for a, b in zip(there, here, strict=True)] if there and here else []
        key = f"worker_overhead_{files.shape.key}_{adapters_text(n).replace(' ', '_')}"
        rows.append(
            [
                str(n),
                report.add(f"{key}_in_process_token", middle(here), Unit.SECONDS),
                report.add(f"{key}_client_token", middle(there), Unit.SECONDS),
                report.add(f"{key}_extra_per_token", middle(extra), Unit.SECONDS),
                report.add(f"{key}_share", share),
            ]
        )
    header = ("adapters", "in process", "client", "more per token", "share")
    report.table(f"worker overhead per decoded token: {files.shape.title}", header, rows)
