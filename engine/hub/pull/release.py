"""Remove the files of a pulled adapter from the Hub's cache, sparing shared content."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from engine.adapters.foreign.find import MISTRAL_WEIGHTS
from engine.adapters.foreign.mistral import PARAMS
from engine.adapters.foreign.peft.config import CONFIG
from engine.adapters.foreign.shards import whole_name
from engine.errors import HubError
from engine.hub.client.adapter_files import CARD
from modelfiles.references.pulled_adapters import PulledAdapter


def release_adapter(record: PulledAdapter) -> None:
    """Remove an adapter's downloaded files: GGUF file, or weights, configuration and card.

    Content shared with another revision stays. Raises `HubError` if a file cannot be removed.
    """
    path = Path(record.path)
    if record.kind == "gguf":
        files = [path]
    else:
        weights = whole_name(PurePosixPath(record.file).name)
        inside = list(path.iterdir()) if path.is_dir() else []
        own = (weights, CONFIG, CARD, *([PARAMS] if weights == MISTRAL_WEIGHTS else ()))
        files = [file for file in inside if whole_name(file.name) in own]
    try:
        for file in files:
            if file.exists():
                _release(file)
    except OSError as error:
        raise HubError(f"cannot be removed: {error.strerror}.", path) from error


def _release(path: Path) -> None:
    """Remove a snapshot entry, its content unless another entry links to it, and empty folders."""
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
