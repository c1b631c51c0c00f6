"""Changes of the screen, carried out one after another in the order they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Drawing:
    """A queue of changes; the session tells faster than widgets can be mounted."""

    def __init__(self) -> None:
        self._updates: asyncio.Queue[Callable[[], object]] = asyncio.Queue()
        self._n_undone = 0

    @property
    def is_idle(self) -> bool:
        """Whether everything told is on the screen."""
        return self._n_undone == 0

    def later(self, update: Callable[[], object]) -> None:
        """Carry out `update`, which may return a coroutine, after those before it."""
        self._n_undone += 1
        self._updates.put_nowait(update)

    async def run(self) -> None:
        """Carry out updates until cancelled."""
        while True:
            update = await self._updates.get()
            result = update()
            if asyncio.iscoroutine(result):
                await result
            self._n_undone -= 1
