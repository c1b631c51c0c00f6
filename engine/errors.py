"""Errors of the engine wing: each message is one sentence for the person at the keyboard."""

from collections.abc import Callable


class EngineError(Exception):
    """Base of every error about running a model; its text says what, where and what to do."""


class GgufError(EngineError):
    """A file is not a GGUF file, is truncated, or its header lies."""


class AdapterError(EngineError):
    """An adapter cannot be used with the loaded base; the text names the rule it breaks."""


class BaseError(EngineError):
    """A base model cannot be loaded."""


class PromptError(EngineError):
    """A conversation cannot be turned into a prompt that fits the context."""


class GenerationError(EngineError):
    """Evaluation or sampling failed inside llama.cpp."""


class WorkerError(EngineError):
    """The worker process ended or answered with nonsense."""


class HubError(EngineError):
    """Something cannot be downloaded from the Hugging Face Hub."""


class Cancelled(Exception):  # noqa: N818  # no error: somebody asked for it
    """Work was given up because `is_cancelled` said so; nothing half is left."""


def stop_if(is_cancelled: Callable[[], bool]) -> None:
    """Raise `Cancelled` where somebody has asked for it."""
    if is_cancelled():
        raise Cancelled
