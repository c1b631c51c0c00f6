"""Resolve the references of `tui inspect` to adapter files and the base to check them against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

from modelfiles.errors import ModelfilesError, ModelNameError, ModelNotFoundError
from modelfiles.library import Library
from modelfiles.model import Model
from modelfiles.references.files import gguf_at, is_foreign_adapter
from modelfiles.references.hub import HubReference
from tui.commands.fetching import download, pull_and_tell
from tui.errors import TuiError, UsageError
from tui.text.sanitize import printable_line


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


def read_references(references: Sequence[str], base: str | None, library: Library) -> Inspected:
    """Resolve each reference: a file or folder, `hf.co/…`, an adapter or a model.

    An adapter's name is looked up in the model that `base` names. A model stands for all its
    adapters, and provides the base if none is named. Raises `TuiError` if a reference leads nowhere
    or the models have different bases, `UsageError` if one cannot be a path, and what the library
    raises.
    """
    base_path, base_model = _base(base, library) if base is not None else (None, None)
    found: list[AdapterReference] = []
    models: list[Model] = []
    for reference in references:
        if base_model is not None and (own := _of_model(reference, base_model)) is not None:
            found.append(own)
        elif (path := _existing(reference)) is not None:
            found.append(_at(path, reference))
        elif (pulled := _pulled(reference, library)) is not None:
            found.append(pulled)
        else:
            model = _model(reference, base_model, library)
            models.append(model)
            found += [AdapterReference(s.path, s.name, s.scale) for s in model.adapters]
    if base is not None:
        return Inspected(tuple(found), base_path, base_model.name if base_model else base)
    if not all(_is_same(models[0].base, model.base) for model in models[1:]):
        names = " and ".join(model.name for model in models)
        raise TuiError(f"{names} have different bases: name one with --base.")
    if not models:
        return Inspected(tuple(found), None)
    if not found:
        raise TuiError(f"{models[0].name} has no adapters: name one to inspect it on this base.")
    return Inspected(tuple(found), models[0].base, models[0].name)


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two bases are equal, also as copies: a model made of the demo has its own."""
    try:
        return one.samefile(other) or cmp(one, other, shallow=False)
    except OSError:  # a missing file is reported when it is read
        return one == other


def _base(reference: str, library: Library) -> tuple[Path, Model | None]:
    """Return the base's file, and the model if the reference names one."""
    path = _existing(reference)
    if path is not None:
        return gguf_at(path, f"--base {reference}") if path.is_dir() else path, None
    hub = _from_hub(reference)
    if hub is not None:
        return hub, None
    try:
        model = library.get(reference)
    except (ModelNotFoundError, ModelNameError):
        raise TuiError(
            f"--base {printable_line(reference)} is neither a file nor a model: 'tui list' shows "
            "the models."
        ) from None
    return model.base, model


def _at(path: Path, reference: str) -> AdapterReference:
    """Return the adapter at a path, or the one in the folder at that path."""
    if is_foreign_adapter(path):
        return AdapterReference(path, is_foreign=True)
    return AdapterReference(gguf_at(path, reference, "adapter") if path.is_dir() else path)


def _of_model(reference: str, model: Model) -> AdapterReference | None:
    specs = (spec for spec in model.adapters if spec.name == reference)
    spec = next(specs, None)
    return None if spec is None else AdapterReference(spec.path, spec.name, spec.scale)


def _model(reference: str, base_model: Model | None, library: Library) -> Model:
    try:
        return library.get(reference)
    except (ModelNotFoundError, ModelNameError):
        if base_model is None or not base_model.adapters:
            what = "is neither a file nor a model"
        else:
            names = ", ".join(spec.name for spec in base_model.adapters)
            what = f"is no file, no model, and none of the adapters of {base_model.name} ({names})"
        raise TuiError(
            f"{printable_line(reference)!r} {what}: name an adapter's GGUF file or folder, or a "
            "model ('tui list' shows them)."
        ) from None


def _existing(reference: str) -> Path | None:
    try:
        path = Path(reference).expanduser().absolute()
        return path if reference and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, no such home folder, a zero byte
        raise UsageError(f"{printable_line(reference)!r} cannot be a path or a name.") from None


def _from_hub(reference: str) -> Path | None:
    """Download the base model that a Hub reference names; None for any other text."""
    try:
        hub = HubReference.parse(reference, "model")
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    return None if hub is None else download(hub)


def _pulled(reference: str, library: Library) -> AdapterReference | None:
    """Return the adapter of a reference to the Hub, or the one pulled under that name.

    Return None if neither exists or a model has the name, which takes precedence.
    """
    try:
        is_hub = HubReference.parse(reference, "adapter") is not None
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if not is_hub:
        try:
            library.find(reference)
        except ModelfilesError:
            pass  # no model, or one that cannot be read, which its own look-up reports
        else:
            return None
    record = pull_and_tell(reference)
    if record is None:
        return None
    is_foreign = record.kind != "gguf"
    return AdapterReference(Path(record.path), record.name, is_foreign=is_foreign)
