"""Apply changes to the screen one after another, in the order of their events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Drawing:
    """A queue of changes: events arrive faster than widgets can be mounted."""

    def __init__(self) -> None:
        self._updates: asyncio.Queue[Callable[[], object]] = asyncio.Queue()
        self._n_undone = 0

    @property
    def is_idle(self) -> bool:
        """Whether every change has been applied."""
        return self._n_undone == 0

    def later(self, update: Callable[[], object]) -> None:
        """Queue `update`, which may return a coroutine, behind the changes before it."""
        self._n_undone += 1
        self._updates.put_nowait(update)

    async def run(self) -> None:
        """Apply the changes until cancelled."""
        while True:
            update = await self._updates.get()
            result = update()
            if asyncio.iscoroutine(result):
                await result
            self._n_undone -= 1
