"""Find the model that NAME means; loads little, for commands that only look it up."""

from __future__ import annotations

from typing import Final

from engine.resolve.base import resolve_base
from modelfiles.library import open_library
from modelfiles.model import Model

MODEL_HELP: Final = "the model: a name of `tui list`, or a GGUF file"


def named_model(reference: str) -> Model:
    """Return the model that NAME means: a GGUF file, or a model of this machine.

    Raises `EngineError` or `ModelfilesError` with one sentence if it is neither.
    """
    return resolve_base(reference, open_library()).model
