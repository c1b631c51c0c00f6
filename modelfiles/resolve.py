"""From what a Modelfile says to files that exist: FROM and ADAPTER references looked up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from modelfiles.adapter_line import AdapterLine
from modelfiles.errors import (
    ModelfileError,
    ModelNameError,
    ModelNotFoundError,
    ReferenceNotFoundError,
)
from modelfiles.model import AdapterSpec, Model
from modelfiles.modelfile import Modelfile
from modelfiles.names import ModelName, free_name
from modelfiles.wording import printable, quoted

GGUF_MAGIC = b"GGUF"

_HUB_PREFIXES = ("hf.co/", "huggingface.co/", "hf://", "https://hf.co/", "https://huggingface.co/")
_NO_ID = re.compile(r"[^\w.-]+")


class ModelLookup(Protocol):
    """Where FROM finds models by name; `modelfiles.library.Library` is the usual one."""

    def get(self, name: str) -> Model:
        """Return the model called `name`; raises `ModelNotFoundError`."""
        ...


def resolve(modelfile: Modelfile, folder: Path, library: ModelLookup | None, name: str) -> Model:
    """Look up every reference of `modelfile` and return the model it describes.

    FROM is an existing path (relative to `folder`, the Modelfile's own; `~` is expanded), else a
    model of `library`, whose adapters come first and whose parameters, system, template and
    messages hold where the Modelfile sets none. `name` becomes the model's name.

    Raises `ReferenceNotFoundError` where a reference leads to nothing, `ModelfileError` where it
    leads to something that cannot serve or two adapters share an explicit name, and
    `ModelNameError` if `name` is not a model name.
    """
    parent = _base(modelfile, folder, library)
    return Model(
        name=ModelName.parse(name).display,
        base=parent.base,
        adapters=_stack(modelfile.adapters, parent.adapters, folder),
        parameters=modelfile.parameters.over(parent.parameters),
        system=modelfile.system or parent.system,
        template=modelfile.template or parent.template,
        messages=modelfile.messages or parent.messages,
        licenses=parent.licenses + modelfile.licenses,
        renderer=modelfile.renderer or parent.renderer,
        parser=modelfile.parser or parent.parser,
        requires=modelfile.requires or parent.requires,
        drafts=_drafts(modelfile, folder) or parent.drafts,
    )


def adapter_id(path: Path) -> str:
    """Return the name an adapter gets from its file: the stem, made an id."""
    return _NO_ID.sub("-", path.stem).strip("-.")[:60] or "adapter"


def _base(modelfile: Modelfile, folder: Path, library: ModelLookup | None) -> Model:
    """Return the base as a model: of a file it has nothing but the file."""
    references = (*modelfile.earlier_bases, modelfile.base)
    where = _where(modelfile.base_line)
    names = [r for r in references if not _is_there(_expand(r, folder, where), where)]
    if names:
        return _named_base(names[-1], folder, library, where)
    if len(references) > 1:
        raise ModelfileError(
            f"{where}FROM stands {len(references)} times with files; a model here has one base"
            " (split files and vision projectors are not supported), so keep one FROM line",
            modelfile.base_line,
        )
    path = _expand(modelfile.base, folder, where)
    return Model(name="", base=_gguf_at(path, f"{where}FROM {_plain(modelfile.base)}".rstrip()))


def _named_base(reference: str, folder: Path, library: ModelLookup | None, where: str) -> Model:
    what = f"{where}FROM {_plain(reference)}"
    path = _expand(reference, folder, where)
    if _looks_like_path(reference):
        raise ReferenceNotFoundError(f"{what}: there is no such file (looked at {printable(path)})")
    is_on_hub = reference.lower().startswith(_HUB_PREFIXES)
    try:
        if library is None:
            raise ModelNotFoundError("no models can be looked up by name here")
        return library.get(reference)
    except (ModelNotFoundError, ModelNameError) as error:
        if is_on_hub:
            raise ReferenceNotFoundError(
                f"{what}: downloading from the Hugging Face Hub is not supported yet;"
                " download the GGUF file and give its path"
            ) from None
        raise ReferenceNotFoundError(
            f"{what}: there is no file of that name in {printable(path.parent)}, and {error}"
        ) from None


def _stack(
    lines: Sequence[AdapterLine], inherited: Sequence[AdapterSpec], folder: Path
) -> tuple[AdapterSpec, ...]:
    resolved = [(line, *_adapter(line, folder)) for line in lines]
    taken = {spec.name for spec in inherited}
    for line, _, _, name in resolved:
        if name is not None and name in taken:
            raise ModelfileError(
                f"{_where(line.line)}the adapter name {quoted(name)} is already taken by an"
                " adapter of the FROM model or of an earlier line; choose another name=",
                line.line,
            )
        if name is not None:
            taken.add(name)
    stack = list(inherited)
    for _, path, scale, name in resolved:
        if name is None:
            name = free_name(adapter_id(path), taken)
            taken.add(name)
        stack.append(AdapterSpec(name, path, scale))
    return tuple(stack)


def _adapter(line: AdapterLine, folder: Path) -> tuple[Path, float, str | None]:
    """Return the file, scale and explicit name of a line, whose two readings are tried here."""
    where = _where(line.line)
    if line.argument is not None:
        whole = _expand(line.argument, folder, where)
        if _is_there(whole, where):
            return _gguf_at(whole, f"{where}ADAPTER {_plain(line.argument)}", "adapter"), 1.0, None
    path = _expand(line.reference, folder, where)
    what = f"{where}ADAPTER {_plain(line.reference)}"
    if line.reference and _is_there(path, where):
        return _gguf_at(path, what, "adapter"), line.scale, line.name
    head, _, tail = line.reference.rpartition(" ")
    if head and _is_there(_expand(head.strip(), folder, where), where):
        raise ModelfileError(
            f"{where}the scale must be a finite number, not {quoted(tail)}, for the adapter"
            f" {_plain(head.strip())}",
            line.line,
        )
    if line.reference.lower().startswith(_HUB_PREFIXES):
        raise ReferenceNotFoundError(
            f"{what}: downloading from the Hugging Face Hub is not supported yet;"
            " download the adapter and give its path"
        )
    raise ReferenceNotFoundError(f"{what}: there is no such file (looked at {printable(path)})")


def _drafts(modelfile: Modelfile, folder: Path) -> tuple[Path, ...]:
    paths = []
    lines = modelfile.draft_lines or (None,) * len(modelfile.drafts)
    for reference, line in zip(modelfile.drafts, lines, strict=False):
        what = f"{_where(line)}DRAFT {_plain(reference)}"
        path = _expand(reference, folder, _where(line))
        if not _is_there(path, _where(line)):
            raise ReferenceNotFoundError(
                f"{what}: there is no such file (looked at {printable(path)})"
            )
        paths.append(_gguf_at(path, what))
    return tuple(paths)


def _gguf_at(path: Path, what: str, kind: str = "model") -> Path:
    """Return the GGUF file at `path`, or the only one in the folder there; `what` names it."""
    try:
        if path.is_dir():
            path = _only_gguf_in(path, what, kind)
        elif path.suffix == ".safetensors":
            raise ModelfileError(f"{what}: {_convert_advice(kind)}")
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ReferenceNotFoundError(
            f"{what}: cannot read {printable(path)}: {error.strerror or error}"
        ) from None
    if magic != GGUF_MAGIC:
        raise ModelfileError(f"{what}: {printable(path)} is not a GGUF file")
    return path


def _only_gguf_in(folder: Path, what: str, kind: str) -> Path:
    # A vision projector beside its model is no second model.
    files = sorted(p for p in folder.glob("*.gguf") if not p.name.lower().startswith("mmproj"))
    if len(files) == 1:
        return files[0]
    if files:
        raise ModelfileError(
            f"{what}: the folder {printable(folder)} holds {len(files)} GGUF files;"
            " name one of them"
        )
    if any(folder.glob("*.safetensors")):
        raise ModelfileError(f"{what}: {_convert_advice(kind)}")
    raise ModelfileError(
        f"{what}: the folder {printable(folder)} holds no GGUF file"
        " (a folder comes before a model of the same name; write name:tag for the model)"
    )


def _convert_advice(kind: str) -> str:
    if kind == "adapter":
        return (
            "safetensors adapters are not read yet; convert it to GGUF first,"
            " with llama.cpp's convert_lora_to_gguf.py"
        )
    return (
        "safetensors models cannot be run; convert it to GGUF first,"
        " with llama.cpp's convert_hf_to_gguf.py"
    )


def _expand(reference: str, folder: Path, where: str) -> Path:
    """Return the absolute path that a reference means, whether or not anything is there."""
    if "\0" in reference:
        raise ModelfileError(f"{where}the path {quoted(reference)} holds a NUL character")
    try:
        return (folder / Path(reference).expanduser()).absolute()
    except RuntimeError:
        raise ReferenceNotFoundError(
            f"{where}{_plain(reference)}: there is no such user's home folder"
        ) from None


def _is_there(path: Path, where: str) -> bool:
    """Whether the path leads to something; one that is too long to exist does not."""
    try:
        path.stat()
    except PermissionError:
        raise ReferenceNotFoundError(
            f"cannot look at {printable(path)}: permission denied"
        ) from None
    except OSError:
        return False
    return True


def _looks_like_path(reference: str) -> bool:
    return reference.startswith((".", "/", "~", "\\")) or reference.lower().endswith(
        (".gguf", ".safetensors", ".bin")
    )


def _where(line: int | None) -> str:
    return f"(line {line}): " if line is not None else ""


def _plain(reference: str) -> str:
    return quoted(reference)[1:-1]
