"""Download files of one revision into the Hub's cache and check their size and SHA-256."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from engine.errors import HubError, stop_if
from engine.hub.client.gguf_files import HubFile
from engine.hub.client.http import quieten

CHUNK_BYTES: Final = 2**20
"""Bytes between two progress reports. The client's default of 10 MiB takes 10 s and more on a slow
line, during which there is no progress and no chance to cancel."""

OnBytes = Callable[[int, int], None]
"""Called with the bytes of all files present so far and the total bytes."""


def fetch(
    repo: str,
    revision: str,
    files: Sequence[HubFile],
    on_bytes: OnBytes = lambda _done, _total: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    *,
    is_cache_read: bool = False,
) -> list[Path]:
    """Return the cached paths of files of a repository, downloading the missing ones.

    The client resumes broken connections. A file whose size or SHA-256 differs from the Hub's is
    removed. Files already in the cache are checked only with `is_cache_read`: a killed process
    may have left one unchecked.

    Raises:
        HubError: There is no space for the missing files, or a file has other content.
        Cancelled: `is_cancelled` returned True; called after every MiB.
        Exception: What the client raises, for `engine.hub.client.errors.explained`.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    quieten()
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
    missing = missing_files(repo, revision, files)
    _require_space(repo, sum(file.size_bytes for file in missing))
    total_bytes = sum(file.size_bytes for file in files)
    done_bytes = 0

    class Bar(tqdm):
        """Forward the client's progress to `on_bytes` and draw nothing."""

        def __init__(self, *args: Any, **options: Any) -> None:
            options["disable"] = True
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]  # as the client is

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done_bytes
            stop_if(is_cancelled)
            done_bytes += int(n or 0)
            on_bytes(done_bytes, total_bytes)
            return None

    paths = []
    before = 0
    for file in files:
        stop_if(is_cancelled)
        on_bytes(before, total_bytes)
        path = Path(hf_hub_download(repo, file.path, revision=revision, tqdm_class=Bar))
        if file in missing or is_cache_read:
            try:
                _require_whole(repo, file, path)
            except BaseException:
                # Later calls trust the cache, so an unchecked file must not stay there.
                if file in missing:
                    forget(path)
                raise
        paths.append(path)
        # The client reports no progress for files already cached.
        before = done_bytes = before + file.size_bytes
    on_bytes(total_bytes, total_bytes)
    return paths


def missing_files(repo: str, revision: str, files: Sequence[HubFile]) -> list[HubFile]:
    """Return those of `files` that the Hub's cache lacks at this revision."""
    return [file for file in files if not _is_cached(repo, revision, file)]


def _is_cached(repo: str, revision: str, file: HubFile) -> bool:
    from huggingface_hub import try_to_load_from_cache

    # For a file known to be missing upstream the client returns a sentinel object.
    return isinstance(try_to_load_from_cache(repo, file.path, revision=revision), str)


def forget(path: Path) -> None:
    """Remove a file from the Hub's cache: its snapshot entry and its content."""
    with suppress(OSError):
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _require_space(repo: str, n_bytes: int) -> None:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        free_bytes = shutil.disk_usage(there).free
    except OSError:
        return  # a full disk then shows on writing
    if n_bytes > free_bytes:
        raise HubError(
            f"hf.co/{repo} needs {n_bytes} bytes in {folder}, and {free_bytes} are free there: "
            "free some, or set HF_HOME to a folder on a larger disk."
        )


def _require_whole(repo: str, file: HubFile, path: Path) -> None:
    size_bytes = path.stat().st_size
    # Some servers give no size (0 here).
    if file.size_bytes and size_bytes != file.size_bytes:
        forget(path)
        raise HubError(
            f"{file.path} of hf.co/{repo} arrived with {size_bytes} bytes instead of "
            f"{file.size_bytes}: try again."
        )
    if file.sha256 is None:
        return
    with path.open("rb") as stored:
        digest = hashlib.file_digest(stored, "sha256").hexdigest()
    if digest != file.sha256:
        forget(path)
        raise HubError(
            f"{file.path} of hf.co/{repo} arrived with other content than the Hub names and was "
            "removed: try again; if it stays so, look for a proxy that changes downloads."
        )
