"""Resolve single references of a Modelfile: paths of GGUF files or adapters, files of the Hub."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable
from pathlib import Path

from modelfiles.errors import ModelfileError, ReferenceNotFoundError
from modelfiles.references.hub import Download, HubReference, Kind
from modelfiles.references.pulled_adapters import PulledAdapter
from modelfiles.references.split_files import missing_shards, shards_of
from modelfiles.wording import printable, quoted, shortened

GGUF_MAGIC = b"GGUF"

Convert = Callable[[Path, Path], Path]
"""Convert an adapter of PEFT or MLX to GGUF: takes the adapter's folder or file and the base's
file, and returns the path of the result; raises `ReferenceNotFoundError` if it cannot."""

Pull = Callable[[str], PulledAdapter | None]
"""Download the adapter of a Hub reference, or find the adapter pulled under a name; return its
record, or None if the text is neither; raises `ReferenceNotFoundError`, with the reason, if that
fails."""

_FOREIGN_WEIGHTS = (".safetensors", ".bin", ".npz", ".pt", ".pth")
_FOREIGN_CONFIG = "adapter_config.json"


def gguf_at(path: Path, what: str, kind: str = "model") -> Path:
    """Return the GGUF file at `path`, or the only one in that folder.

    Error messages begin with `what`. Raises `ReferenceNotFoundError` if a file cannot be read or
    a shard is missing, and `ModelfileError` if the file is not GGUF or not the first shard, or the
    folder does not hold exactly one model.
    """
    try:
        if path.is_dir():
            path = _only_gguf_in(path, what, kind)
        elif path.suffix == ".safetensors":
            raise ModelfileError(f"{what}: {_convert_advice(kind, path.parent)}")
        magic = _magic(path)
    except OSError as error:
        raise ReferenceNotFoundError(
            f"{what}: cannot read {printable(path)}: {error.strerror or error}"
        ) from None
    if magic != GGUF_MAGIC:
        raise ModelfileError(f"{what}: {printable(path)} is not a GGUF file")
    return path if kind == "adapter" else _first_shard(path, what)


def adapter_at(path: Path, what: str, base: Path, convert: Convert | None) -> tuple[Path, Path]:
    """Return the GGUF file of the adapter at `path`, and the path that gives its default name.

    Converts an adapter of PEFT or MLX for the model in `base`; its folder gives the name.
    """
    if not is_foreign_adapter(path):
        file = gguf_at(path, what, "adapter")
        return file, file
    if convert is None:
        raise ModelfileError(f"{what}: {_convert_advice('adapter', path)}")
    try:
        return convert(path, base), path if path.is_dir() else path.parent
    except ReferenceNotFoundError as error:
        raise ReferenceNotFoundError(f"{what}: {error}") from error


def is_foreign_adapter(path: Path) -> bool:
    """Return whether `path` is the folder or the weights of an adapter in PEFT or MLX format.

    False for a folder that holds a GGUF file, which is used instead, and for a missing or
    unreadable path.
    """
    try:
        if not path.is_dir():
            is_named_so = path.suffix.lower() in _FOREIGN_WEIGHTS or path.name == _FOREIGN_CONFIG
            return is_named_so and _magic(path) != GGUF_MAGIC
        entries = list(path.iterdir())
        if any(entry.suffix.lower() == ".gguf" for entry in entries):
            return False
        return (
            any(entry.suffix.lower() in _FOREIGN_WEIGHTS for entry in entries)
            or (path / _FOREIGN_CONFIG).exists()
            or any((entry / _FOREIGN_CONFIG).exists() for entry in entries)
        )
    except (OSError, ValueError):  # ValueError: a zero byte in the path
        return False


def _magic(path: Path) -> bytes:
    if not path.is_file() and path.exists():  # opening a pipe would block until it has a writer
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        return file.read(len(GGUF_MAGIC))


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
    # A vision projector beside its model does not count as a second model.
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


def hub_reference(reference: str, kind: Kind, what: str) -> HubReference | None:
    """Parse a reference to the Hub; return None if it is not one.

    Raises `ReferenceNotFoundError` if it has the prefix of one but names no repository.
    """
    try:
        return HubReference.parse(reference, kind)
    except ValueError as error:
        raise ReferenceNotFoundError(f"{what}: {error}") from None


def downloaded(reference: HubReference, download: Download | None, what: str) -> Path:
    """Download the GGUF file of a Hub reference and return its path."""
    if download is None:
        raise ReferenceNotFoundError(f"{what}: nothing can be downloaded here")
    try:
        path = download(reference)
    except ReferenceNotFoundError as error:
        raise ReferenceNotFoundError(f"{what}: {error}") from error
    return gguf_at(path, what, reference.kind)


def pulled_at(
    reference: str, what: str, base: Path, convert: Convert | None, pull: Pull | None
) -> tuple[Path, str] | None:
    """Return the GGUF file and the name of an adapter given by Hub reference or pulled name.

    None if the reference is neither. Converts an adapter of PEFT or MLX for `base`.
    """
    hub = hub_reference(reference, "adapter", what)
    if pull is None:
        if hub is None:
            return None
        raise ReferenceNotFoundError(f"{what}: nothing can be downloaded here")
    try:
        record = pull(reference)
    except ReferenceNotFoundError as error:
        raise ReferenceNotFoundError(f"{what}: {error}") from error
    if record is None:
        return None
    file, _ = adapter_at(Path(record.path), what, base, convert)
    return file, record.name


def expand(reference: str, folder: Path, where: str) -> Path:
    """Return the absolute path of a reference, relative to `folder`; it need not exist.

    Raises `ModelfileError` for a NUL character and `ReferenceNotFoundError` for an unknown user's
    home folder; messages begin with `where`.
    """
    if "\0" in reference:
        raise ModelfileError(f"{where}the path {quoted(reference)} holds a NUL character")
    try:
        return (folder / Path(reference).expanduser()).absolute()
    except RuntimeError:
        raise ReferenceNotFoundError(
            f"{where}{shortened(reference)}: there is no such user's home folder"
        ) from None


def is_there(path: Path, where: str) -> bool:
    """Return whether the path exists; False for one that is too long to exist.

    Raises `ReferenceNotFoundError`, whose text begins with `where`, if permission is denied.
    """
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
    """Return whether a reference without an existing file can only be a path."""
    return reference.startswith((".", "/", "~", "\\")) or reference.lower().endswith(
        (".gguf", ".safetensors", ".bin")
    )


def line_prefix(line: int | None) -> str:
    """Return the prefix of an error about a line, or an empty text without a line."""
    return f"(line {line}): " if line is not None else ""
