"""What a model is once every reference in its Modelfile has been resolved to a file."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from modelfiles.parameters import Parameters

Role = Literal["system", "user", "assistant"]
Origin = Literal["created", "package", "ollama"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, or of the history a Modelfile starts with."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """One ADAPTER line, resolved: a GGUF file, its name in the rack and its scale."""

    name: str
    """Unique within the model; what the rack shows and `--lora` may refer to."""
    path: Path
    scale: float = 1.0
    """Factor on the adapter's effect; 1.0 is the strength it was trained at, 0 is off."""


@dataclass(frozen=True, slots=True)
class Model:
    """A resolved model: a base file, a stack of adapters and how to talk to it."""

    name: str
    """As displayed, for example `demo:latest`."""
    base: Path
    adapters: tuple[AdapterSpec, ...] = ()
    parameters: Parameters = field(default_factory=Parameters)
    system: str | None = None
    template: str | None = None
    """The TEMPLATE of the Modelfile, verbatim; None when the base's own chat template applies."""
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    renderer: str | None = None
    """RENDERER and PARSER name built-in code of Ollama; kept so that the Modelfile stays whole."""
    parser: str | None = None
    requires: str | None = None
    """The Ollama version the Modelfile asks for; shown, never enforced."""
    drafts: tuple[Path, ...] = ()
    """Draft models for speculative decoding; kept and shown, not run."""


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


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model and where its name led."""

    model: Model
    origin: Origin
    hides: str | None = None
    """The full name of the model of Ollama that this one stands before; None if there is none."""
