"""Data classes of a resolved model: every reference in its Modelfile is a file."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Generic, Literal, TypeVar

from modelfiles.errors import names_of_stored
from modelfiles.parameters import Parameters

Role = Literal["system", "user", "assistant"]
Origin = Literal["created", "package", "ollama"]
File = TypeVar("File")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, or of the history a Modelfile starts with."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """A resolved ADAPTER line: a GGUF file, its name in the rack and its scale."""

    name: str
    """Unique within the model; the rack shows it and `--lora` may refer to it."""
    path: Path
    scale: float = 1.0
    """Factor on the adapter's effect; 1.0 is the trained strength, 0 is off."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[File]):
    """The directives that only Ollama acts on; stored, shown and written back, without effect."""

    renderer: str | None = None
    """RENDERER and PARSER name built-in code of Ollama."""
    parser: str | None = None
    requires: str | None = None
    """The required Ollama version; not enforced."""
    drafts: tuple[File, ...] = ()
    """Draft models for speculative decoding; not run."""

    def with_drafts(self, drafts: tuple[Other, ...]) -> "Kept[Other]":
        """Return the record with each draft model given as another kind of file."""
        return Kept(self.renderer, self.parser, self.requires, drafts)

    def over(self, parent: "Kept[File]") -> "Kept[File]":
        """Return the record with the values of `parent` where this one sets none."""
        return Kept(
            self.renderer or parent.renderer,
            self.parser or parent.parser,
            self.requires or parent.requires,
            self.drafts or parent.drafts,
        )


@dataclass(frozen=True, slots=True)
class Model:
    """A resolved model: a base file, a stack of adapters, parameters and prompt texts."""

    name: str
    """As displayed, for example `demo:latest`."""
    base: Path
    adapters: tuple[AdapterSpec, ...] = ()
    parameters: Parameters = field(default_factory=Parameters)
    system: str | None = None
    template: str | None = None
    """The TEMPLATE of the Modelfile, verbatim; None if the base's own chat template applies."""
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    kept: Kept[Path] = Kept()

    @property
    def files(self) -> tuple[Path, ...]:
        """The paths of the base (its first shard), the adapters and the drafts, each once."""
        paths = (self.base, *(adapter.path for adapter in self.adapters), *self.kept.drafts)
        return tuple(dict.fromkeys(paths))

    @property
    def names(self) -> dict[Path, str]:
        """What the user calls the base and the stored adapters, to word errors about them."""
        names = names_of_stored({spec.path: spec.name for spec in self.adapters})
        return names | ({self.base: self.name} if self.name else {})


@dataclass(frozen=True, slots=True)
class ListedModel:
    """The facts about one model that `tui list` shows."""

    name: str
    """As displayed, for example `demo:latest`."""
    digest: str
    """The first 12 hex digits of the manifest's SHA-256; equal models have equal digests.
    Empty if the manifest cannot be read."""
    size_bytes: int
    """Total size of the base, adapters and drafts, each content counted once."""
    modified: datetime
    """Modification time of the manifest or packaged Modelfile; aware, in UTC."""
    origin: Origin
    n_adapters: int
    problem: str | None = None
    """Why the model cannot be read or run, in one sentence; None if it can."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model and where it was found."""

    model: Model
    origin: Origin | Literal["file", "hub"]
    """`file` for a path, `hub` for what was downloaded just for this."""
    hides: str | None = None
    """The full name of the Ollama model that this model hides; None if there is none."""
