"""Errors of the engine; each message is one sentence for the user."""

from collections.abc import Callable

from modelfiles.errors import SubjectError


class EngineError(SubjectError):
    """Base class of the engine's errors; the text says what failed, where, and what to do."""


class GgufError(EngineError):
    """A file is not GGUF, is truncated, or has an inconsistent header."""


class AdapterError(EngineError):
    """An adapter or stack cannot be used; the text names the rule it breaks."""


class BaseError(EngineError):
    """A base model cannot be loaded."""


class PromptError(EngineError):
    """A conversation cannot be turned into a prompt that fits the context."""


class GenerationError(EngineError):
    """Evaluation or sampling failed inside llama.cpp."""


class WorkerError(EngineError):
    """The worker process cannot be started or sent a request, or ended without answering."""


class HubError(EngineError):
    """A request to the Hugging Face Hub failed, or its repository or files cannot be used."""


class Cancelled(Exception):  # noqa: N818  # requested, so not an error
    """Work was cancelled because `is_cancelled` returned True; no partial result is left."""


def stop_if(is_cancelled: Callable[[], bool]) -> None:
    """Raise `Cancelled` if `is_cancelled` returns True."""
    if is_cancelled():
        raise Cancelled
