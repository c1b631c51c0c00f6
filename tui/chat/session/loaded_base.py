"""Track which base the engine holds, and under which settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from engine.protocol.engine import Engine
from engine.protocol.values import BaseInfo, BaseReference, LoadSpec
from modelfiles.model import Model
from modelfiles.parameters import Parameters
from tui.settings import Settings


class Loading:
    """Loads bases; an engine that refuses a base or settings keeps the previous ones.

    Args:
        settings: Settings sent to the engine before the first load.
        cache_folder: Absolute path of the engine's folder on disk; None for no such folder.
    """

    def __init__(self, engine: Engine, settings: Settings, cache_folder: Path | None) -> None:
        self.settings = settings
        """The settings in force."""
        self.info: BaseInfo | None = None
        """Description of the loaded base; None if none is loaded."""
        self._engine = engine
        self._cache_folder = cache_folder
        self._is_configured = False
        self._turn = asyncio.Lock()
        self._spec: LoadSpec | None = None

    async def configure(self, change: Callable[[Settings], Settings]) -> None:
        """Send changed settings to the engine; raise `EngineError` if it refuses them.

        `change` is a function instead of new settings, so that of several changes made faster than
        the engine takes them none is lost.
        """
        async with self._turn:
            settings = change(self.settings)
            await self._engine.configure(settings.for_engine(self._cache_folder))
            self.settings, self._is_configured = settings, True

    def is_loaded(self, model: Model) -> bool:
        """Return whether a model's base is loaded, with the model's load-time parameters."""
        spec = self._spec
        is_same = spec is not None and spec.base.path == str(model.base)
        return is_same and not self.loads_again(model.parameters)

    def loads_again(self, parameters: Parameters) -> bool:
        """Return whether these parameters require the loaded base to be loaded again."""
        loaded = Parameters() if self._spec is None else self._spec.parameters
        return parameters.load_time != loaded

    async def load(self, model: Model, on_progress: Callable[[float], None]) -> BaseInfo:
        """Load a model's base, which starts without a stack; raise `EngineError` on failure."""
        if not self._is_configured:
            await self.configure(lambda settings: settings)
        spec = LoadSpec(BaseReference.of(model), model.parameters.load_time)
        self.info = await self._engine.load(spec, on_progress)
        self._spec = spec
        return self.info
