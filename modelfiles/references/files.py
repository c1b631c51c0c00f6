"""Resolve single references of a Modelfile: paths of GGUF files or adapters, files of the Hub."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelfiles.errors import ModelfileError, ModelfilesError, ReferenceNotFoundError
from modelfiles.references.hub import HubReference, Kind
from modelfiles.references.signatures import N_BYTES, signature_beside_gguf
from modelfiles.references.split_files import missing_shards, shards_of
from modelfiles.wording import printable, quoted, shortened

GGUF_MAGIC = b"GGUF"

_FOREIGN_WEIGHTS = (".safetensors", ".bin", ".npz", ".pt", ".pth")
_FOREIGN_CONFIG = "adapter_config.json"
_BESIDE = (_FOREIGN_CONFIG, "params.json", ".safetensors.index.json", ".bin.index.json")
"""Ends of the names of files beside weights, which name their adapter too."""
_INSIDE = (_FOREIGN_CONFIG, "lora.safetensors", "consolidated/lora.safetensors")
"""Files in a folder that is an adapter or a checkpoint, PEFT's or mistral-finetune's."""


@contextmanager
def said_of(what: str) -> Iterator[None]:
    """Begin the message of every error of the block with `what`, such as `(line 2): FROM x`."""
    try:
        yield
    except ModelfileError as error:
        raise ModelfileError(f"{what}: {error}", error.line) from error
    except ModelfilesError as error:
        raise ReferenceNotFoundError(f"{what}: {error}") from error


def gguf_at(path: Path, kind: Kind = "model") -> Path:
    """Return the GGUF file at `path`, or the only one in that folder.

    Raises `ReferenceNotFoundError` if a file cannot be read or a shard is missing, and
    `ModelfileError` if the file is not GGUF or not the first shard, or the folder does not hold
    exactly one model.
    """
    try:
        if path.is_dir():
            path = _only_gguf_in(path, kind)
        elif path.suffix == ".safetensors":
            raise ModelfileError(_convert_advice(kind, path.parent))
        head = _head(path)
    except OSError as error:
        raise ReferenceNotFoundError(
            f"cannot read {printable(path)}: {error.strerror or error}"
        ) from None
    if not head.startswith(GGUF_MAGIC):
        what = str(signature_beside_gguf(head) or "is not a GGUF file").removesuffix(".")
        raise ModelfileError(f"{printable(path)} {what}")
    return path if kind == "adapter" else _first_shard(path)


def is_foreign_adapter(path: Path) -> bool:
    """Return whether `path` is the folder or the weights of an adapter in PEFT or MLX format.

    False for a folder that holds a GGUF file, which is used instead, and for a missing or
    unreadable path.
    """
    try:
        if not path.is_dir():
            is_named_so = path.suffix.lower() in _FOREIGN_WEIGHTS or path.name.endswith(_BESIDE)
            return is_named_so and not _head(path).startswith(GGUF_MAGIC)
        entries = list(path.iterdir())
        if any(entry.suffix.lower() == ".gguf" for entry in entries):
            return False
        return (
            any(entry.suffix.lower() in _FOREIGN_WEIGHTS for entry in entries)
            or (path / _FOREIGN_CONFIG).exists()
            or any((entry / name).exists() for entry in entries for name in _INSIDE)
        )
    except (OSError, ValueError):  # ValueError: a zero byte in the path
        return False


def _head(path: Path) -> bytes:
    if not path.is_file() and path.exists():  # opening a pipe would block until it has a writer
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        return file.read(N_BYTES)


def _first_shard(path: Path) -> Path:
    shards = shards_of(path)
    if path != shards[0]:
        raise ModelfileError(
            f"{printable(path)} is not the first part of its split model;"
            f" name {printable(shards[0].name)}"
        )
    missing = missing_shards(path)
    if missing:
        raise ReferenceNotFoundError(
            f"of the {len(shards)} parts of the split model {len(missing)} are missing in"
            f" {printable(path.parent)}, {printable(missing[0].name)} first"
        )
    return path


def _only_gguf_in(folder: Path, kind: Kind) -> Path:
    # A vision projector beside its model does not count as a second model.
    files = sorted(p for p in folder.glob("*.gguf") if not p.name.lower().startswith("mmproj"))
    models = list(dict.fromkeys(shards_of(file)[0] for file in files))
    if len(models) == 1:
        return models[0]
    if models:
        raise ModelfileError(
            f"the folder {printable(folder)} holds {len(models)} GGUF files; name one of them"
        )
    if any(folder.glob("*.safetensors")):
        raise ModelfileError(_convert_advice(kind, folder))
    other = (
        "a model of the same name; write name:tag for the model"
        if kind == "model"
        else "a pulled adapter of the same name; write hf.co/user/repo for the adapter"
    )
    raise ModelfileError(
        f"the folder {printable(folder)} holds no GGUF file (a folder comes before {other})"
    )


def _convert_advice(kind: Kind, folder: Path) -> str:
    where = shlex.quote(printable(folder))
    if kind == "adapter":
        return f"it is an adapter of PEFT or MLX; convert it first: tui convert {where}"
    if (folder / _FOREIGN_CONFIG).is_file():
        return (
            "it is an adapter of PEFT or MLX, not a model; name its base with FROM and the adapter"
            " with ADAPTER"
        )
    return (
        "safetensors models cannot be run; convert it to GGUF first, in a folder of llama.cpp:"
        f" python convert_hf_to_gguf.py {where} --outtype q8_0"
    )


def hub_reference(reference: str, kind: Kind) -> HubReference | None:
    """Parse a reference to the Hub; return None if it is not one.

    Raises `ReferenceNotFoundError` if it has the prefix of one but names no repository.
    """
    try:
        return HubReference.parse(reference, kind)
    except ValueError as error:
        raise ReferenceNotFoundError(str(error)) from None


def expand(reference: str, folder: Path) -> Path:
    """Return the absolute path of a reference, relative to `folder`; it need not exist.

    Raises `ModelfileError` for a NUL character and `ReferenceNotFoundError` for an unknown user's
    home folder.
    """
    if "\0" in reference:
        raise ModelfileError(f"the path {quoted(reference)} holds a NUL character")
    try:
        return (folder / Path(reference).expanduser()).absolute()
    except RuntimeError:
        raise ReferenceNotFoundError(
            f"there is no such user's home folder as in {shortened(reference)}"
        ) from None


def is_there(path: Path) -> bool:
    """Return whether the path exists; False for one that is too long to exist.

    Raises `ReferenceNotFoundError` if permission is denied.
    """
    try:
        path.stat()
    except PermissionError:
        raise ReferenceNotFoundError(
            f"cannot look at {printable(path)}: permission denied"
        ) from None
    except OSError:
        return False
    return True


def looks_like_path(reference: str) -> bool:
    """Return whether a reference without an existing file can only be a path."""
    return reference.startswith((".", "/", "~", "\\")) or reference.lower().endswith(
        (".gguf", ".safetensors", ".bin")
    )


def line_prefix(line: int | None) -> str:
    """Return the prefix of an error about a line, or an empty text without a line."""
    return f"(line {line}): " if line is not None else ""
