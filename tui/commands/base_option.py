"""Choose the base that an adapter is converted for: the one named, or the only model that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.adapters.conversion.identity import base_fingerprint
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.foreign.source import LoraSource
from engine.errors import EngineError
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from modelfiles.errors import ModelfilesError
from modelfiles.library import Library, open_library
from modelfiles.references.files import expand, gguf_at, is_there, looks_like_path
from modelfiles.wording import listed
from tui.errors import TuiError
from tui.terminal.progress import Progress

_MAX_LISTED = 6


@dataclass(frozen=True, slots=True)
class Base:
    """A base model and the name the user knows it by."""

    header: GgufHeader
    name: str = ""
    """Name of a model with this base, or '' if the user named a file."""

    @property
    def shown(self) -> str:
        """The model's name, else the file's path."""
        return self.name or str(self.header.path)

    def said(self, sentence: str) -> str:
        """Return a sentence with the model's name in place of its file's path in the store."""
        return sentence.replace(str(self.header.path), self.name) if self.name else sentence


def named_base(reference: str, what: str = "--base") -> Base:
    """Return the base that the user named: an existing GGUF file, else that of a model.

    `what` is the argument that names it, for error messages. Raises `BaseError`, `GgufError` or
    `ModelfilesError` with one sentence if the reference leads to no usable base.
    """
    path = expand(reference, Path.cwd(), f"{what} ")
    if is_there(path, f"{what} ") or looks_like_path(reference):
        return Base(require_base(gguf_at(path, f"{what} {reference}")))
    # Imported late: with its own imports it takes 45 ms, a tenth of a conversion.

    model = open_library().get(reference)
    return Base(require_base(model.base), model.name)


def fitting_base(source: LoraSource, config: Mapping[str, Any] | None = None) -> Base:
    """Return the only base among this machine's models that an adapter fits.

    All quantisations of a model count as one. Of several bases that fit, the one named like the
    model that the adapter was trained on is taken. Raises `TuiError` if none fits or several do.
    """
    library = open_library()
    fitting: dict[str, Base] = {}
    problems: list[str] = []
    models = [model for model in library.list() if model.problem is None]
    # Of several models with one base, name the one with the fewest adapters, then the oldest.
    names = [model.name for model in sorted(models, key=lambda m: (m.n_adapters, m.modified))]
    seen: set[Path] = set()
    with Progress() as progress:
        for index, name in enumerate(names):
            progress.show(f"trying {name}", index / len(names))
            header = _header(library, name, seen)
            if header is None:
                continue
            try:
                make_plan(source, header, config)
            except EngineError as error:
                problems.append(f"{name}: {error}")
            else:
                fitting.setdefault(base_fingerprint(header), Base(header, name))
    return _only(source, list(fitting.values()), problems)


def _header(library: Library, name: str, seen: set[Path]) -> GgufHeader | None:
    """Return the header of a model's base, or None if it was seen before or cannot be read."""
    try:
        path = library.get(name).base
        if path in seen:
            return None
        seen.add(path)
        return require_base(path)
    except (EngineError, ModelfilesError):  # one model that is broken keeps no other from serving
        return None


def _is_called(base: Base, repository: str) -> bool:
    """Return whether a base is named like a repository: `Llama 3.2 1B` like `meta/llama-3.2-1b`."""
    ours, theirs = (
        "".join(c for c in name.lower() if c.isalnum())
        for name in (base.header.text("general.name") or "", repository.rpartition("/")[2])
    )
    return bool(ours) and ours == theirs


def _only(source: LoraSource, fitting: list[Base], problems: list[str]) -> Base:
    named = [base for base in fitting if _is_called(base, source.base_name)]
    for choice in (fitting, named):
        if len(choice) == 1:
            return choice[0]
    if fitting:
        names = listed([base.name for base in fitting], _MAX_LISTED)
        trained = f" (it was trained on {source.base_name})" if source.base_name else ""
        raise TuiError(
            f"{source.path} fits {len(fitting)} models here, {names}: name the one it was "
            f"trained on with --base{trained}."
        )
    if len(problems) == 1:
        raise TuiError(f"{source.path} does not fit the only model here, {problems[0]}")
    raise TuiError(
        f"None of the {len(problems)} models here is the base of {source.path}"
        + (f", which was trained on {source.base_name}" if source.base_name else "")
        + ": name a GGUF file of it with --base."
    )
