"""Find the base that FROM, `--base` or the NAME of a command means."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from modelfiles.errors import ModelNameError, ModelNotFoundError, ReferenceNotFoundError
from modelfiles.model import FoundModel, Model
from modelfiles.references.files import expand, gguf_at, hub_reference, is_there, looks_like_path
from modelfiles.references.hub import Download
from modelfiles.wording import printable


class ModelLookup(Protocol):
    """The lookup of model names, usually `modelfiles.library.Library`."""

    def find(self, name: str) -> FoundModel:
        """Return the model called `name`; raises `ModelNotFoundError`."""
        ...


def find_base(
    reference: str,
    folder: Path,
    library: ModelLookup | None,
    download: Download | None = None,
) -> FoundModel:
    """Return the model that a reference to a base means.

    It is, in this order: an existing path (relative to `folder`; `~` is expanded) of a GGUF file,
    of the first part of a split one, or of a folder with one GGUF; a model of `library`; a
    repository of the Hugging Face Hub, which `download` fetches. A file gives a model that is
    called after it and has neither adapters nor settings.

    Raises `ReferenceNotFoundError` or `ModelNotFoundError` if the reference leads nowhere,
    `ModelfileError` if it leads to a file or folder that is not one GGUF model, and what the
    library raises.
    """
    path = expand(reference, folder)
    if is_there(path):
        return _from_file(gguf_at(path), "file")
    hub = hub_reference(reference, "model")
    try:
        if library is None:
            raise ModelNotFoundError("no models can be looked up by name here")
        return library.find(reference)
    except (ModelNotFoundError, ModelNameError):
        if hub is None and looks_like_path(reference):
            raise ReferenceNotFoundError(
                f"there is no such file (looked at {printable(path)})"
            ) from None
        if hub is None or (download is None and library is not None):
            raise
    if download is None:
        raise ReferenceNotFoundError("nothing can be downloaded here")
    return _from_file(gguf_at(download(hub)), "hub")


def _from_file(file: Path, origin: Literal["file", "hub"]) -> FoundModel:
    return FoundModel(Model(file.name, file), origin)
