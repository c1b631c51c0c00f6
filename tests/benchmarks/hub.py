"""Measure the time to the first rows of a Hub search in the chat, and the cost of scrolling a row.

The hub runs on the loopback with 300 repositories, in a thread of the same process, and the chat
has no real engine, so the measurement covers the client, the search and the screen.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.measurement import Report, Unit, progress
from tests.benchmarks.plan import Plan
from tests.support.chat import chat
from tests.support.fake_hub import FakeHub
from tests.support.hub_screens import loopback, model_on
from tests.support.hub_shelf import fill
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.app import ChatApp
from tui.chat.hub.rows import HubRows

N_REPOS, N_REPOS_QUICK = 300, 20
N_ROUNDS = 7
SIZE = (80, 24)
FIRST_ROW = "hub_first_byte_to_first_row_s"
SCROLLED = "hub_row_scrolled_s"
_N_NAMED = 5
_MAX_WAIT_S = 30.0


async def measure(report: Report, plan: Plan) -> None:
    """Measure searches, in a new chat for each round, and scrolling through all rows."""
    n_repos = N_REPOS_QUICK if plan.is_quick else N_REPOS
    first_s, all_s, row_s = [], [], []
    for number in range(plan.n_rounds(N_ROUNDS)):
        progress(f"hub: round {number + 1} of {plan.n_rounds(N_ROUNDS)}")
        with (
            tempfile.TemporaryDirectory() as folder,
            pytest.MonkeyPatch.context() as patch,
            loopback(Path(folder), patch) as hub,
        ):
            first, whole, row = await _search(hub, Path(folder), n_repos)
        first_s.append(first)
        all_s.append(whole)
        row_s.append(row)
    report.table(
        f"hub: a search with {n_repos} results at {SIZE[0]}x{SIZE[1]}",
        ("from the answer's first byte", "median", "longest"),
        [
            [
                "to the first row",
                report.add(FIRST_ROW.removesuffix("_s"), median(first_s), Unit.SECONDS),
                report.add("hub_first_row_longest", max(first_s), Unit.SECONDS),
            ],
            [
                "to all rows",
                report.add("hub_first_byte_to_all_rows", median(all_s), Unit.SECONDS),
                report.add("hub_all_rows_longest", max(all_s), Unit.SECONDS),
            ],
        ],
    )
    shown = report.add(SCROLLED.removesuffix("_s"), median(row_s), Unit.SECONDS)
    report.line(f"  processor time for each row scrolled: {shown}")


async def _search(hub: FakeHub, folder: Path, n_repos: int) -> tuple[float, float, float]:
    """Return seconds from the first answer to the first row and to all rows, and per scrolled row.

    The last is CPU time.
    """
    model = model_on(hub, folder)
    fill(hub, folder, model.base, n_others=n_repos - _N_NAMED)
    async with chat(ScriptedEngine(), model, SIZE) as (app, pilot):
        hub.answered.clear()
        # A key's press returns when the application is idle, long after the first row.
        key = asyncio.create_task(pilot.press("ctrl+f"))
        moments = [await _drawn(app, n_wanted) for n_wanted in (1, n_repos)]
        await key
        begun_s = min(moment for request, moment in hub.answered if "/api/models?" in request)
        rows = app.screen.query_one(HubRows)
        used_s = time.process_time()
        for _ in range(n_repos - 1):
            rows.move(1)
            await _refreshed(rows)
        row_s = (time.process_time() - used_s) / (n_repos - 1)
    return moments[0] - begun_s, moments[1] - begun_s, row_s


async def _drawn(app: ChatApp, n_wanted: int) -> float:
    """Return the time at which at least `n_wanted` rows were listed and drawn."""
    deadline_s = time.perf_counter() + _MAX_WAIT_S
    while time.perf_counter() < deadline_s:
        found = app.screen.query(HubRows)
        if found and len(found.first().rows) >= n_wanted:
            await _refreshed(found.first())
            return time.perf_counter()
        await asyncio.sleep(0.001)
    raise TimeoutError(f"{n_wanted} rows did not appear in {_MAX_WAIT_S:g} s")


async def _refreshed(rows: HubRows) -> None:
    """Wait until changes of the list are drawn."""
    is_drawn = asyncio.Event()
    rows.call_after_refresh(is_drawn.set)
    await is_drawn.wait()
