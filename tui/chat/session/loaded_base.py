"""Which base the engine holds, and under which settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from engine.protocol.engine import Engine
from engine.protocol.values import BaseInfo, LoadSpec
from modelfiles.parameters import Parameters
from tui.settings import Settings


class Loading:
    """Loads bases; an engine that refuses one, or settings, keeps what it had.

    Args:
        settings: What the engine is told before the first load.
        cache_folder: Absolute path of the engine's folder on disk; None for none.
    """

    def __init__(self, engine: Engine, settings: Settings, cache_folder: Path | None) -> None:
        self.settings = settings
        """The settings in force."""
        self.info: BaseInfo | None = None
        """What the loaded base is; None where none is loaded."""
        self._engine = engine
        self._cache_folder = cache_folder
        self._is_configured = False
        self._turn = asyncio.Lock()
        self._spec: LoadSpec | None = None

    async def configure(self, change: Callable[[Settings], Settings]) -> None:
        """Tell the engine changed settings; raises `EngineError`.

        A change instead of settings: of changes made faster than the engine takes them none is
        lost.
        """
        async with self._turn:
            settings = change(self.settings)
            await self._engine.configure(settings.for_engine(self._cache_folder))
            self.settings, self._is_configured = settings, True

    def is_loaded(self, base: Path, parameters: Parameters) -> bool:
        """Whether this very base is loaded as these parameters want it."""
        return _spec(base, parameters) == self._spec

    def loads_again(self, parameters: Parameters) -> bool:
        """Whether these parameters want the base that is loaded to be loaded otherwise."""
        loaded = Parameters() if self._spec is None else self._spec.parameters
        return parameters.load_time != loaded

    async def load(
        self, base: Path, parameters: Parameters, on_progress: Callable[[float], None]
    ) -> BaseInfo:
        """Load a base, which begins without a stack; raises `EngineError`."""
        if not self._is_configured:
            await self.configure(lambda settings: settings)
        spec = _spec(base, parameters)
        self.info = await self._engine.load(spec, on_progress)
        self._spec = spec
        return self.info


def _spec(base: Path, parameters: Parameters) -> LoadSpec:
    return LoadSpec(str(base), parameters.load_time)
