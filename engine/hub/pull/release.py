"""Removes the files of a pulled adapter from the Hub's cache, and nothing that others use."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from engine.errors import HubError
from engine.hub.client.adapter_files import CARD, CONFIG
from modelfiles.references.pulled_adapters import PulledAdapter


def release_adapter(record: PulledAdapter) -> None:
    """Remove what was downloaded of an adapter: its GGUF file, or weights, configuration and card.

    Content that another revision shares stays. Raises `HubError` where a file cannot be removed.
    """
    path = Path(record.path)
    if record.kind == "gguf":
        files = [path]
    else:
        files = [path / name for name in (PurePosixPath(record.file).name, CONFIG, CARD)]
    try:
        for file in files:
            if file.exists():
                _release(file)
    except OSError as error:
        raise HubError(f"{path} cannot be removed: {error.strerror}.") from error


def _release(path: Path) -> None:
    """Remove a file from its snapshot, its content unless another has it, and empty folders."""
    content = path.resolve()
    snapshot = next(
        (folder for folder in path.parents if folder.parent.name == "snapshots"), path.parent
    )
    path.unlink()
    is_shared = any(
        other.is_symlink() and other.resolve() == content for other in snapshot.parent.rglob("*")
    )
    if not is_shared:
        content.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == snapshot.parent or any(folder.iterdir()):
            break
        folder.rmdir()
