"""Resolve a Modelfile to a `Model`: look up its FROM, ADAPTER and DRAFT references."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelfiles.errors import (
    ModelfileError,
    ModelfilesError,
    ModelNameError,
    ModelNotFoundError,
    ReferenceNotFoundError,
)
from modelfiles.language.adapter_line import AdapterLine
from modelfiles.language.modelfile import Modelfile
from modelfiles.model import AdapterSpec, Model, Origin
from modelfiles.references.files import (
    Convert,
    Pull,
    adapter_at,
    downloaded,
    expand,
    gguf_at,
    hub_reference,
    is_there,
    line_prefix,
    looks_like_path,
    pulled_at,
)
from modelfiles.references.hub import Download
from modelfiles.references.model_name import ModelName, free_name
from modelfiles.references.split_files import shards_of
from modelfiles.wording import printable, quoted, shortened

if TYPE_CHECKING:
    # At run time this would be a cycle: the library resolves packaged models with this module.
    from modelfiles.model import FoundModel

_NO_ID = re.compile(r"[^\w.-]+")
_ORIGINS: dict[Origin, str] = {
    "created": "the created model {}",
    "package": "the model {} of the package",
    "ollama": "the model {} of Ollama's store",
}


class ModelLookup(Protocol):
    """The lookup that FROM uses for model names, usually `modelfiles.library.Library`."""

    def find(self, name: str) -> FoundModel:
        """Return the model called `name`; raises `ModelNotFoundError`."""
        ...


def resolve(
    modelfile: Modelfile,
    folder: Path,
    library: ModelLookup | None,
    name: str,
    *,
    download: Download | None = None,
    convert: Convert | None = None,
    pull: Pull | None = None,
    on_choice: Callable[[str], None] | None = None,
) -> Model:
    """Resolve every reference of `modelfile` and return the model it describes.

    FROM is, in this order, an existing path (relative to `folder`, the Modelfile's own; `~` is
    expanded), a model of `library`, or a repository of the Hugging Face Hub, which `download`
    fetches. The adapters of a FROM model come first in the stack; its other settings apply where
    the Modelfile sets none, and its licenses precede the Modelfile's. ADAPTER is an existing
    path, a Hub reference or the name of a pulled adapter; `pull` resolves the last two, and
    `convert` converts adapters of PEFT or MLX. `name` becomes the model's name; `on_choice`
    receives a sentence that says how FROM was resolved.

    Raises `ReferenceNotFoundError` if a reference cannot be found or read, `ModelfileError` if it
    leads to an unusable file or two adapters share an explicit name, and `ModelNameError` if
    `name` is not a model name.
    """
    parent = _base(modelfile, folder, library, download, on_choice or _tell_nobody)
    return Model(
        name=ModelName.parse(name).display,
        base=parent.base,
        adapters=_stack(modelfile.adapters, parent, folder, convert, pull),
        parameters=modelfile.parameters.over(parent.parameters),
        system=modelfile.system or parent.system,
        template=modelfile.template or parent.template,
        messages=modelfile.messages or parent.messages,
        licenses=parent.licenses + modelfile.licenses,
        kept=modelfile.kept.with_drafts(_drafts(modelfile, folder)).over(parent.kept),
    )


def adapter_id(path: Path) -> str:
    """Return an adapter's default name: the stem of its file or folder, reduced to an id."""
    stem = path.name if path.is_dir() else path.stem
    return _NO_ID.sub("-", stem).strip("-.")[:60] or "adapter"


def _base(
    modelfile: Modelfile,
    folder: Path,
    library: ModelLookup | None,
    download: Download | None,
    on_choice: Callable[[str], None],
) -> Model:
    """Return the base as a model; for a file, one without a name or any settings."""
    references = (*modelfile.earlier_bases, modelfile.base)
    where = line_prefix(modelfile.base_line)
    names = [r for r in references if not is_there(expand(r, folder, where), where)]
    if not names and len(references) > 1:
        raise ModelfileError(
            f"{where}FROM stands {len(references)} times with files; a model here has one base"
            " (split files are named by their first part alone, vision projectors are not"
            " supported), so keep one FROM line",
            modelfile.base_line,
        )
    reference = names[-1] if names else modelfile.base
    what = f"FROM {shortened(reference)}".rstrip()
    if not names:
        base = gguf_at(expand(reference, folder, where), f"{where}{what}")
        n_parts = len(shards_of(base))
        parts = f", in {n_parts} parts" if n_parts > 1 else ""
        on_choice(f"{where}{what} is the file {printable(base)}{parts}")
        return Model(name="", base=base)
    hub = hub_reference(reference, "model", f"{where}{what}")
    path = expand(reference, folder, where)
    if hub is None and looks_like_path(reference):
        raise ReferenceNotFoundError(
            f"{where}{what}: there is no such file (looked at {printable(path)})"
        )
    try:
        found = _found(reference, library)
    except (ModelNotFoundError, ModelNameError) as error:
        if hub is None:
            raise ReferenceNotFoundError(
                f"{where}{what}: there is no file of that name in {printable(path.parent)},"
                f" and {error}"
            ) from None
    except ModelfilesError as error:
        # The model exists but cannot be used.
        raise ReferenceNotFoundError(f"{where}{what}: {error}") from error
    else:
        origin = _ORIGINS[found.origin].format(found.model.name)
        hidden = f"; Ollama's model of that name is {found.hides}" if found.hides else ""
        on_choice(f"{where}{what} is {origin}{hidden}")
        return found.model
    base = downloaded(hub, download, f"{where}{what}")
    on_choice(f"{where}{what} is {shortened(base.name)} of the Hugging Face Hub")
    return Model(name="", base=base)


def _found(reference: str, library: ModelLookup | None) -> FoundModel:
    if library is None:
        raise ModelNotFoundError("no models can be looked up by name here")
    return library.find(reference)


def _stack(
    lines: Sequence[AdapterLine],
    parent: Model,
    folder: Path,
    convert: Convert | None,
    pull: Pull | None,
) -> tuple[AdapterSpec, ...]:
    found = [_adapter(line, folder, parent.base, convert, pull) for line in lines]
    taken = {spec.name for spec in parent.adapters}
    for line, adapter in zip(lines, found, strict=True):
        name = adapter.name
        if name is not None and name in taken:
            raise ModelfileError(
                f"{line_prefix(line.line)}the adapter name {quoted(name)} is already taken by an"
                " adapter of the FROM model or of an earlier line; choose another name=",
                line.line,
            )
        if name is not None:
            taken.add(name)
    stack = list(parent.adapters)
    for adapter in found:
        name = adapter.name
        if name is None:
            name = free_name(adapter.title, taken)
            taken.add(name)
        stack.append(AdapterSpec(name, adapter.path, adapter.scale))
    return tuple(stack)


@dataclass(frozen=True, slots=True)
class _Found:
    """A resolved ADAPTER line."""

    path: Path
    title: str
    """The adapter's default name, used if the line gives none."""
    scale: float
    name: str | None
    """The line's explicit name."""


def _adapter(
    line: AdapterLine,
    folder: Path,
    base: Path,
    convert: Convert | None,
    pull: Pull | None,
) -> _Found:
    """Resolve an ADAPTER line, trying the reading as a whole path first."""
    where = line_prefix(line.line)
    if line.argument is not None:
        whole = expand(line.argument, folder, where)
        if is_there(whole, where):
            what = f"{where}ADAPTER {shortened(line.argument)}"
            file, called_after = adapter_at(whole, what, base, convert)
            return _Found(file, adapter_id(called_after), 1.0, None)
    path = expand(line.reference, folder, where)
    what = f"{where}ADAPTER {shortened(line.reference)}"
    if line.reference and is_there(path, where):
        file, called_after = adapter_at(path, what, base, convert)
        return _Found(file, adapter_id(called_after), line.scale, line.name)
    head, _, tail = line.reference.rpartition(" ")
    if head and is_there(expand(head.strip(), folder, where), where):
        raise ModelfileError(
            f"{where}the scale must be a finite number, not {quoted(tail)}, for the adapter"
            f" {shortened(head.strip())}",
            line.line,
        )
    found = pulled_at(line.reference, what, base, convert, pull)
    if found is not None:
        return _Found(*found, line.scale, line.name)
    raise ReferenceNotFoundError(f"{what}: there is no such file (looked at {printable(path)})")


def _drafts(modelfile: Modelfile, folder: Path) -> tuple[Path, ...]:
    paths = []
    drafts = modelfile.kept.drafts
    lines = modelfile.draft_lines or (None,) * len(drafts)
    for reference, line in zip(drafts, lines, strict=False):
        what = f"{line_prefix(line)}DRAFT {shortened(reference)}"
        path = expand(reference, folder, line_prefix(line))
        if not is_there(path, line_prefix(line)):
            raise ReferenceNotFoundError(
                f"{what}: there is no such file (looked at {printable(path)})"
            )
        paths.append(gguf_at(path, what))
    return tuple(paths)


def _tell_nobody(_: str) -> None:
    pass
