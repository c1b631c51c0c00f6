"""Find the model or base that a command names, or the only model that an adapter fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.adapters.conversion.identity import base_fingerprint
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.foreign.source import LoraSource
from engine.errors import EngineError
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from engine.resolve.base import resolve_base
from modelfiles.errors import ModelfilesError, naming
from modelfiles.library import Library, open_library
from modelfiles.model import AdapterSpec
from modelfiles.wording import listed
from tui.commands.fetching import watching
from tui.errors import TuiError
from tui.terminal.progress import Progress

BASE: Final = "NAME|GGUF|hf.co/…"
"""What `--base` takes, for help."""

_MAX_LISTED = 6


@dataclass(frozen=True, slots=True)
class Base:
    """A base model and the name the user knows it by."""

    header: GgufHeader
    name: str = ""
    """Name of a model with this base, or '' if the user named a file."""
    adapters: tuple[AdapterSpec, ...] = ()
    """The adapters of the model that the user named."""

    @property
    def shown(self) -> str:
        """The model's name, else the file's path."""
        return self.name or str(self.header.path)

    @property
    def names(self) -> dict[Path, str]:
        """What the user calls the base's file, to word errors about it."""
        return {self.header.path: self.name} if self.name else {}


def named_base(reference: str) -> Base:
    """Return the base that --base means: that of a GGUF file, a model, or hf.co/user/repo.

    A file of the Hub is downloaded, with a bar on stderr. Raises `EngineError` or
    `ModelfilesError` with one sentence if the reference leads to no usable base.
    """
    with watching(reference) as watch:
        found = resolve_base(reference, open_library(), watch)
    name = "" if found.origin in ("file", "hub") else found.model.name
    with naming({found.model.base: name} if name else {}):
        return Base(require_base(found.model.base), name, found.model.adapters)


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
                problems.append(f"{name}: {error.about({header.path: name})}")
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
