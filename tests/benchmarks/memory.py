"""Measure the worker's memory: with 0, 1 and 8 adapters in each form, and per KV snapshot."""

from __future__ import annotations

import psutil

from engine.protocol.settings import EngineSettings
from engine.protocol.values import Form
from engine.stack import stack_of
from engine.worker.client import EngineClient
from tests.benchmarks.conversation import Prompts, ask_client
from tests.benchmarks.engines import (
    adapters_text,
    client_for,
    is_form,
    quiet,
    settle,
    spec_of,
    stack_of_first,
)
from tests.benchmarks.measurement import Report, Unit, progress
from tests.benchmarks.plan import Plan
from tests.benchmarks.shapes import Files

N_CTX = 1024
N_PROMPT = 32
N_SNAPSHOT, N_SNAPSHOT_QUICK = 256, 64
SCALES = (0.2, 0.3, 0.4, 0.5)

STACKS: tuple[tuple[int, Form], ...] = ((0, "none"), (1, "single"), (8, "layered"), (8, "fused"))


async def measure(report: Report, plan: Plan) -> None:
    """Measure every shape, with a new worker for each number."""
    for files in plan.files():
        rows = []
        bare_bytes = 0.0
        for n, form in STACKS:
            name = f"{adapters_text(n)} {form}" if n > 1 else adapters_text(n)
            progress(f"memory, {files.shape.key}: {name}")
            used_bytes = await _with_stack(files, plan, n, form)
            bare_bytes = bare_bytes or used_bytes or 0.0
            more_bytes = None if used_bytes is None else used_bytes - bare_bytes
            key = f"resident_{files.shape.key}_{name.replace(' ', '_')}"
            rows.append(
                [
                    name,
                    report.add(key, used_bytes, Unit.BYTES),
                    report.add(f"{key}_more", more_bytes, Unit.BYTES),
                ]
            )
        progress(f"memory, {files.shape.key}: snapshots")
        n_tokens = N_SNAPSHOT_QUICK if plan.is_quick else N_SNAPSHOT
        snapshot_bytes = await _per_snapshot(files, plan, n_tokens)
        key = f"resident_{files.shape.key}_snapshot_of_{n_tokens}_tokens"
        row = [
            f"one snapshot of {n_tokens} tokens",
            "",
            report.add(key, snapshot_bytes, Unit.BYTES),
        ]
        header = ("worker", "resident", "more than the base")
        report.table(f"memory: {files.shape.title}", header, [*rows, row])


async def _with_stack(files: Files, plan: Plan, n: int, form: Form) -> float | None:
    """Return the worker's resident bytes after an answer, or None if another form served it."""
    settings = quiet("always" if form == "fused" else "never")
    async with client_for(spec_of(files, plan, N_CTX), settings) as client:
        prompts = Prompts()
        await client.set_stack(stack_of_first(files, n))
        cost = await ask_client(client, prompts.next(N_PROMPT), 2)
        if cost.stats.form != form:
            await settle(client)
            cost = await ask_client(client, prompts.next(N_PROMPT), 2)
        return _resident_bytes(client) if is_form(cost.stats, form, n) else None


async def _per_snapshot(files: Files, plan: Plan, n_tokens: int) -> float | None:
    """Return the bytes of a snapshot, or None if the engine keeps none.

    Leaving a stack makes a snapshot. The growth during the first two stacks, which the worker
    keeps for later use, does not count.
    """
    settings = EngineSettings(prepares=False)
    async with client_for(spec_of(files, plan, N_CTX), settings) as client:
        messages = Prompts().next(n_tokens)
        used_bytes = []
        for scale in SCALES:
            await client.set_stack(stack_of([(files.adapters[0], scale)]))
            await ask_client(client, messages, 2)
            used_bytes.append(_resident_bytes(client))
        await client.set_stack(stack_of([(files.adapters[0], SCALES[0])]))
        cost = await ask_client(client, messages, 2)
        if cost.stats.n_reused < n_tokens - 1:
            return None
        return (used_bytes[-1] - used_bytes[1]) / (len(SCALES) - 2)


def _resident_bytes(client: EngineClient) -> float:
    """Return the resident memory of the worker in bytes, mapped weights included."""
    return float(psutil.Process(client.worker_pid).memory_info().rss)
