"""Resolve a Modelfile to a `Model`: look up its FROM, ADAPTER and DRAFT references."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from modelfiles.errors import (
    ModelfileError,
    ModelNameError,
    ModelNotFoundError,
    ReferenceNotFoundError,
)
from modelfiles.language.adapter_line import AdapterLine, mistake_in
from modelfiles.language.modelfile import Modelfile
from modelfiles.model import AdapterSpec, FoundModel, Model
from modelfiles.references.base import ModelLookup, find_base
from modelfiles.references.files import (
    expand,
    gguf_at,
    hub_reference,
    is_there,
    line_prefix,
    said_of,
)
from modelfiles.references.hub import Download
from modelfiles.references.model_name import ModelName, free_name
from modelfiles.references.split_files import shards_of
from modelfiles.wording import COMMENT, NO_COMMENT, printable, quoted, shortened

_NO_ID = re.compile(r"[^\w.-]+")
_ORIGINS = {
    "created": "the created model {}",
    "package": "the model {} of the package",
    "ollama": "the model {} of Ollama's store",
    "hub": "{} of the Hugging Face Hub",
}


class AdapterLookup(Protocol):
    """The lookup of what ADAPTER lines name, usually `engine.resolve.reference.find_adapter`."""

    def __call__(self, reference: str, folder: Path, base: Path) -> AdapterSpec:
        """Return an adapter's GGUF file for the model in `base`, and the name it is known by.

        Paths are relative to `folder`. Raises `ModelfilesError` if there is no such adapter.
        """
        ...


def gguf_adapter(reference: str, folder: Path, base: Path) -> AdapterSpec:
    """Return the adapter in a GGUF file: the lookup where nothing is downloaded or converted."""
    path = expand(reference, folder)
    if reference and is_there(path):
        file = gguf_at(path, "adapter")
        return AdapterSpec(adapter_id(file), file)
    if hub_reference(reference, "adapter") is not None:
        raise ReferenceNotFoundError("nothing can be downloaded here")
    raise ReferenceNotFoundError(f"there is no such file (looked at {printable(path)})")


def resolve(
    modelfile: Modelfile,
    folder: Path,
    library: ModelLookup | None,
    name: str,
    *,
    download: Download | None = None,
    adapters: AdapterLookup = gguf_adapter,
    on_choice: Callable[[str], None] = lambda _: None,
) -> Model:
    """Resolve every reference of `modelfile` and return the model it describes.

    `find_base` says what FROM may be; `download` fetches a repository of the Hub. The adapters of a
    FROM model come first in the stack; its other settings apply where the Modelfile sets none, and
    its licenses precede the Modelfile's. `adapters` finds what ADAPTER lines name. `name` becomes
    the model's name; `on_choice` receives a sentence that says how FROM was resolved.

    Raises `ReferenceNotFoundError` if a reference cannot be found or read, `ModelfileError` if it
    leads to an unusable file or two adapters share an explicit name, and `ModelNameError` if
    `name` is not a model name.
    """
    parent = _base(modelfile, folder, library, download, on_choice)
    return Model(
        name=ModelName.parse(name).display,
        base=parent.base,
        adapters=_stack(modelfile.adapters, parent, folder, adapters),
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
    """Return the base as a model; for a file, one without any settings."""
    references = (*modelfile.earlier_bases, modelfile.base)
    where = line_prefix(modelfile.base_line)
    with said_of(f"{where}FROM"):
        names = [r for r in references if not is_there(expand(r, folder))]
    if not names and len(references) > 1:
        raise ModelfileError(
            f"{where}FROM stands {len(references)} times with files; a model here has one base"
            " (split files are named by their first part alone, vision projectors are not"
            " supported), so keep one FROM line",
            modelfile.base_line,
        )
    reference = names[-1] if names else modelfile.base
    what = f"{where}FROM {shortened(reference)}".rstrip()
    if COMMENT.search(reference) and not is_there(expand(reference, folder)):
        raise ModelfileError(f"{what}: {NO_COMMENT}", modelfile.base_line)
    with said_of(what):
        try:
            found = find_base(reference, folder, library, download)
        except (ModelNotFoundError, ModelNameError) as error:
            beside = printable(expand(reference, folder).parent)
            raise ReferenceNotFoundError(
                f"there is no file of that name in {beside}, and {error}"
            ) from None
    on_choice(f"{what} is {_described(found)}")
    return found.model


def _described(found: FoundModel) -> str:
    model = found.model
    if found.origin == "file":
        n_parts = len(shards_of(model.base))
        return f"the file {printable(model.base)}" + (f", in {n_parts} parts" * (n_parts > 1))
    hidden = f"; Ollama's model of that name is {found.hides}" if found.hides else ""
    return _ORIGINS[found.origin].format(shortened(model.name)) + hidden


def _stack(
    lines: Sequence[AdapterLine], parent: Model, folder: Path, adapters: AdapterLookup
) -> tuple[AdapterSpec, ...]:
    found = [_adapter(line, folder, parent.base, adapters) for line in lines]
    # Names that lines give come first, so that a later line's does not depend on those before it.
    taken = {spec.name for spec in parent.adapters}
    for line, (_, name) in zip(lines, found, strict=True):
        if name is not None and name in taken:
            raise ModelfileError(
                f"{line_prefix(line.line)}the adapter name {quoted(name)} is already taken by an"
                " adapter of the FROM model or of an earlier line; choose another name=",
                line.line,
            )
        if name is not None:
            taken.add(name)
    stack = list(parent.adapters)
    for spec, name in found:
        if name is None:
            name = free_name(spec.name, taken)
            taken.add(name)
        stack.append(replace(spec, name=name))
    return tuple(stack)


def _adapter(
    line: AdapterLine, folder: Path, base: Path, adapters: AdapterLookup
) -> tuple[AdapterSpec, str | None]:
    """Resolve an ADAPTER line to its adapter and the name it gives, if it gives one.

    If the whole argument exists as a path, it is the path.
    """
    where = line_prefix(line.line)
    with said_of(f"{where}ADAPTER"):
        is_whole = line.argument is not None and is_there(expand(line.argument, folder))
        tail = "" if is_there(expand(line.reference, folder)) else _tail(line.reference, folder)
    if line.argument is not None and is_whole:
        with said_of(f"{where}ADAPTER {shortened(line.argument)}"):
            return adapters(line.argument, folder, base), None
    if tail:
        file = shortened(line.reference.removesuffix(tail).strip())
        has_scale = line.argument is not None
        mistake = mistake_in(tail, has_scale=has_scale)
        raise ModelfileError(f"{where}{mistake}, for the adapter {file}", line.line)
    with said_of(f"{where}ADAPTER {shortened(line.reference)}".rstrip()):
        return replace(adapters(line.reference, folder, base), scale=line.scale), line.name


def _tail(reference: str, folder: Path) -> str:
    """Return what follows the longest path that exists in an ADAPTER reference, if there is one.

    Without one, only what cannot belong to a name counts: a comment, or an option with blanks.
    """
    words = [match.start() for match in re.finditer(r"[ \t]+(?=[^ \t])", reference)]
    for end in reversed(words):
        if is_there(expand(reference[:end], folder)):
            return reference[end:].strip()
    is_mistake = bool(words) and re.search(r"[ \t](?:#|[a-z]+[ \t]*=)", reference)
    return reference[words[0] :].strip() if is_mistake else ""


def _drafts(modelfile: Modelfile, folder: Path) -> tuple[Path, ...]:
    paths = []
    drafts = modelfile.kept.drafts
    lines = modelfile.draft_lines or (None,) * len(drafts)
    for reference, line in zip(drafts, lines, strict=False):
        with said_of(f"{line_prefix(line)}DRAFT {shortened(reference)}"):
            path = expand(reference, folder)
            if not is_there(path):
                raise ReferenceNotFoundError(f"there is no such file (looked at {printable(path)})")
            paths.append(gguf_at(path))
    return tuple(paths)
