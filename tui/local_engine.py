"""Make the engine that runs on this machine."""

from __future__ import annotations

from pathlib import Path

from engine.protocol.values import BaseReference
from engine.worker.client import EngineClient
from modelfiles.library import open_library

_OLLAMA_LAYOUT = (
    "this Ollama model uses an Ollama-only layout; use a GGUF from hf.co (FROM hf.co/user/repo)"
)
"""Ollama keeps some models (gemma3, gpt-oss, qwen3-vl and others) in a layout of its own, which its
own fork of llama.cpp changes in memory while it loads them."""


def new_engine() -> EngineClient:
    """Return an engine for the models of this machine; its worker starts with the first load."""
    library = open_library()

    def why_refused(base: BaseReference) -> str:
        return _OLLAMA_LAYOUT if library.is_from_ollama(Path(base.path)) else ""

    return EngineClient(why_refused=why_refused)
