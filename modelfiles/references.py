"""What a Modelfile's references mean: paths with a GGUF file, and files of the Hub."""

from __future__ import annotations

import shlex
from pathlib import Path

from modelfiles.errors import ModelfileError, ReferenceNotFoundError
from modelfiles.hub_reference import Download, HubReference, Kind
from modelfiles.shards import missing_shards, shards_of
from modelfiles.wording import printable, quoted

GGUF_MAGIC = b"GGUF"


def gguf_at(path: Path, what: str, kind: str = "model") -> Path:
    """Return the GGUF file at `path`, or the only one in the folder there; `what` names it."""
    try:
        if path.is_dir():
            path = _only_gguf_in(path, what, kind)
        elif path.suffix == ".safetensors":
            raise ModelfileError(f"{what}: {_convert_advice(kind, path.parent)}")
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ReferenceNotFoundError(
            f"{what}: cannot read {printable(path)}: {error.strerror or error}"
        ) from None
    if magic != GGUF_MAGIC:
        raise ModelfileError(f"{what}: {printable(path)} is not a GGUF file")
    return path if kind == "adapter" else _first_shard(path, what)


def _first_shard(path: Path, what: str) -> Path:
    shards = shards_of(path)
    if path != shards[0]:
        raise ModelfileError(
            f"{what}: {printable(path)} is not the first part of its split model;"
            f" name {printable(shards[0].name)}"
        )
    missing = missing_shards(path)
    if missing:
        raise ReferenceNotFoundError(
            f"{what}: of the {len(shards)} parts of the split model {len(missing)} are missing in"
            f" {printable(path.parent)}, {printable(missing[0].name)} first"
        )
    return path


def _only_gguf_in(folder: Path, what: str, kind: str) -> Path:
    # A vision projector beside its model is no second model.
    files = sorted(p for p in folder.glob("*.gguf") if not p.name.lower().startswith("mmproj"))
    models = list(dict.fromkeys(shards_of(file)[0] for file in files))
    if len(models) == 1:
        return models[0]
    if models:
        raise ModelfileError(
            f"{what}: the folder {printable(folder)} holds {len(models)} GGUF files;"
            " name one of them"
        )
    if any(folder.glob("*.safetensors")):
        raise ModelfileError(f"{what}: {_convert_advice(kind, folder)}")
    raise ModelfileError(
        f"{what}: the folder {printable(folder)} holds no GGUF file"
        " (a folder comes before a model of the same name; write name:tag for the model)"
    )


def _convert_advice(kind: str, folder: Path) -> str:
    where = shlex.quote(printable(folder))
    if kind == "adapter":
        return (
            "safetensors adapters are not read yet; convert it to GGUF first, in a folder of"
            f" llama.cpp: python convert_lora_to_gguf.py {where}"
        )
    return (
        "safetensors models cannot be run; convert it to GGUF first, in a folder of llama.cpp:"
        f" python convert_hf_to_gguf.py {where} --outtype q8_0"
    )


def hub_reference(reference: str, kind: Kind, what: str) -> HubReference | None:
    """Return the file of the Hub that a reference means; None if it means none."""
    try:
        return HubReference.parse(reference, kind)
    except ValueError as error:
        raise ReferenceNotFoundError(f"{what}: {error}") from None


def downloaded(reference: HubReference, download: Download | None, what: str) -> Path:
    """Return the file of the Hub, brought to this machine."""
    if download is None:
        raise ReferenceNotFoundError(f"{what}: nothing can be downloaded here")
    try:
        path = download(reference)
    except ReferenceNotFoundError as error:
        raise ReferenceNotFoundError(f"{what}: {error}") from error
    return gguf_at(path, what, reference.kind)


def expand(reference: str, folder: Path, where: str) -> Path:
    """Return the absolute path that a reference means, whether or not anything is there."""
    if "\0" in reference:
        raise ModelfileError(f"{where}the path {quoted(reference)} holds a NUL character")
    try:
        return (folder / Path(reference).expanduser()).absolute()
    except RuntimeError:
        raise ReferenceNotFoundError(
            f"{where}{plain(reference)}: there is no such user's home folder"
        ) from None


def is_there(path: Path, where: str) -> bool:
    """Whether the path leads to something; one that is too long to exist does not."""
    try:
        path.stat()
    except PermissionError:
        raise ReferenceNotFoundError(
            f"{where}cannot look at {printable(path)}: permission denied"
        ) from None
    except OSError:
        return False
    return True


def looks_like_path(reference: str) -> bool:
    """Whether a reference that leads nowhere was surely meant as a path."""
    return reference.startswith((".", "/", "~", "\\")) or reference.lower().endswith(
        (".gguf", ".safetensors", ".bin")
    )


def line_prefix(line: int | None) -> str:
    """Return what an error about a line begins with."""
    return f"(line {line}): " if line is not None else ""


def plain(reference: str) -> str:
    """Return a reference as a message shows it: printable, shortened, without quotes."""
    return quoted(reference)[1:-1]
