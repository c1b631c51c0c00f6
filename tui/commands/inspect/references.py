"""Resolve the references of `tui inspect` to adapters and the base to check them against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

from engine.gguf.header import read_header
from engine.resolve.reference import AdapterNotFoundError, resolve_adapter
from modelfiles.errors import ModelNameError, ModelNotFoundError, ReferenceNotFoundError
from modelfiles.library import Library
from modelfiles.model import AdapterSpec, Model
from modelfiles.references.files import gguf_at
from tui.commands.base_option import Base
from tui.commands.fetching import watching
from tui.commands.model_option import named_model
from tui.errors import TuiError


@dataclass(frozen=True, slots=True)
class AdapterReference:
    """An adapter that was named."""

    path: Path
    """A GGUF file, or the folder or file of another program's adapter."""
    name: str = ""
    """Its name in a model or as a pulled adapter; empty if only its file names it."""
    scale: float | None = None
    """Its scale in that model; None if it was not named through a model."""
    is_foreign: bool = False
    """Whether it is another program's adapter (PEFT or MLX)."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """The adapters to inspect, and their base."""

    adapters: tuple[AdapterReference, ...]
    base: Path | None
    base_name: str = ""
    """How the base was named: a model's name, or a file's; empty without a base."""

    @property
    def names(self) -> dict[Path, str]:
        """What the user calls the files, to word errors about them."""
        names = {adapter.path: adapter.name for adapter in self.adapters if adapter.name}
        return names | ({} if self.base is None else {self.base: self.base_name})


def read_references(references: Sequence[str], base: Base | None, library: Library) -> Inspected:
    """Resolve each reference to an adapter, as `resolve_adapter` does, else to a model.

    The stack is that of the model that `base` was named by. A model, which may be named by its GGUF
    file, stands for all its adapters, and is the base if none is named. Raises `TuiError` if the
    models have different bases or no adapters, and `ModelfilesError` or `EngineError` if a
    reference leads nowhere.
    """
    found: list[AdapterReference] = []
    models: list[Model] = []
    for reference in references:
        named = _named(reference, () if base is None else base.adapters, library)
        if isinstance(named, Model):
            models.append(named)
            found += [AdapterReference(s.path, s.name, s.scale) for s in named.adapters]
        else:
            found.append(named)
    if not all(_is_same(models[0].base, model.base) for model in models[1:]) and base is None:
        names = " and ".join(model.name for model in models)
        raise TuiError(f"{names} have different bases: name one with --base.")
    if not found:
        raise TuiError(f"{models[0].name} has no adapters: name one to inspect it on this base.")
    if base is not None:
        return Inspected(tuple(found), base.header.path, base.name or base.header.path.name)
    if not models:
        return Inspected(tuple(found), None)
    return Inspected(tuple(found), models[0].base, models[0].name)


def _named(
    reference: str, stack: Sequence[AdapterSpec], library: Library
) -> AdapterReference | Model:
    try:
        with watching(reference) as watch:
            adapter = resolve_adapter(reference, stack=stack, watch=watch)
    except AdapterNotFoundError as error:
        try:
            return named_model(reference)
        except (ModelNotFoundError, ModelNameError, ReferenceNotFoundError):
            known = (*error.known, *(model.name for model in library.list()))
            tried = (*error.tried, "a model ('tui list')")
            raise AdapterNotFoundError(reference, tried, known) from None
    if adapter.is_foreign:
        return AdapterReference(adapter.path, adapter.name, is_foreign=True)
    file = gguf_at(adapter.path, "adapter")
    if not adapter.name and not read_header(file).is_adapter:
        return named_model(reference)
    scale = None if adapter.spec is None else adapter.spec.scale
    return AdapterReference(file, adapter.name, scale)


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two bases are equal, also as copies: a model made of the demo has its own."""
    try:
        return one.samefile(other) or cmp(one, other, shallow=False)
    except OSError:  # a missing file is reported when it is read
        return one == other
