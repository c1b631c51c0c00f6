"""One line of the list of models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Origin = Literal["created", "package", "ollama"]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """What `tui list` says about one model."""

    name: str
    """As displayed, for example `demo:latest`."""
    digest: str
    """The first 12 hex digits of the manifest's SHA-256; the same meaning has the same id."""
    size_bytes: int
    """Of the base and the adapters, each file counted once."""
    modified: datetime
    """When the model was created; aware, in UTC."""
    origin: Origin
    n_adapters: int
    problem: str | None = None
    """Why the model cannot be read, in one sentence; None when it can."""
