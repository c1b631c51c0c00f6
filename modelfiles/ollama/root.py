"""Locate the folder of Ollama's store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT_VARIABLE = "OLLAMA_MODELS"


def ollama_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the root of Ollama's store: `OLLAMA_MODELS`, else `~/.ollama/models`.

    Strips white space and quotes around the variable's value, as Ollama does. The folder need
    not exist.
    """
    override = environ.get(ROOT_VARIABLE, "").strip().strip("\"'")
    if override:
        return Path(override).absolute()
    # Without a home folder, Python keeps the `~`, and no models are found below that path.
    return Path(os.path.expanduser("~/.ollama/models")).absolute()
