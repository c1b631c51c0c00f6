"""The heartbeat detects a blocked event loop."""

from __future__ import annotations

import asyncio
import time

from tests.benchmarks.event_loop import heartbeat


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_a_step_that_computes_is_a_gap_of_that_length() -> None:
    async with heartbeat() as beat:
        await asyncio.sleep(0)
        spin(0.1)
    assert beat.longest_s > 0.08
    assert beat.computing_s > 0.09


async def test_waiting_without_blocking_is_not_computing() -> None:
    async with heartbeat() as beat:
        await asyncio.sleep(0.05)
    assert beat.computing_s < 0.05
