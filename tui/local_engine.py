"""The engine of the chat: a client that explains refused Ollama models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.errors import BaseError
from engine.protocol.values import BaseInfo, LoadSpec
from engine.worker.client import EngineClient
from modelfiles.library import open_library


class ChatEngine(EngineClient):
    """An engine that explains the error when llama.cpp refuses a base that Ollama can run.

    Ollama keeps some models (gemma3, gpt-oss, qwen3-vl and others) in a layout of its own, which
    its own fork of llama.cpp changes in memory while it loads them.

    Args:
        is_from_ollama: Returns whether a file belongs to Ollama's store.
    """

    def __init__(self, is_from_ollama: Callable[[Path], bool]) -> None:
        super().__init__()
        self._is_from_ollama = is_from_ollama

    async def load(
        self, spec: LoadSpec, on_progress: Callable[[float], None] | None = None
    ) -> BaseInfo:
        """Load a base; for a model of Ollama, `BaseError` also says what to do."""
        try:
            return await super().load(spec, on_progress)
        except BaseError as error:
            if not self._is_from_ollama(Path(spec.base)):
                raise
            raise BaseError(
                f"{str(error).rstrip('.')}: this Ollama model uses an Ollama-only layout; use a "
                "GGUF from hf.co (FROM hf.co/user/repo)."
            ) from error


def new_engine() -> ChatEngine:
    """Return an engine for the models of this machine; its worker starts with the first load."""
    return ChatEngine(open_library().is_from_ollama)
