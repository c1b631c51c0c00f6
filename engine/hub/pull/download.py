"""Download the GGUF files of a reference through the Hub's own client and cache.

Importing the client takes 0.2 s and more, so it is imported only when a download starts.
`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE` have the client's meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.errors import HubError
from engine.hub.client.errors import explained, no_network
from engine.hub.client.gguf_files import HubFile, chosen_files
from engine.hub.client.info import repository_info
from engine.hub.pull.fetch import fetch
from modelfiles.references.hub import HubReference

OnDownload = Callable[[str, int, int], None]
"""Called with a title, the bytes present so far and the total bytes."""


def download(reference: HubReference, on_progress: OnDownload) -> Path:
    """Download the files a reference means into the Hub's cache and return the first.

    A split model is downloaded in all its parts. `on_progress` receives a title, the bytes
    present so far and the total. Cached files are not downloaded again, and serve without a
    network too. Raises `HubError`.
    """
    with explained(f"hf.co/{reference.repo}"):
        try:
            revision, files = _files_of(reference)
        except no_network() as error:
            revision, files = _cached_files(reference, error)
        chosen = chosen_files(reference, files)
        title = f"downloading {reference.display}"
        paths = fetch(
            reference.repo,
            revision,
            chosen,
            lambda done, total: on_progress(title, done, total),
        )
    return paths[0]


def _files_of(reference: HubReference) -> tuple[str, list[HubFile]]:
    """Return the repository's newest commit (`main` if the Hub gives none) and its files."""
    info = repository_info(reference.repo)
    return info.sha or "main", list(info.files)


def _cached_files(reference: HubReference, error: Exception) -> tuple[str, list[HubFile]]:
    """Return name and GGUF files of the newest cached snapshot that holds what `reference` means.

    Raises `error` if no snapshot does.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(
        repo_id=reference.repo, repo_type="model"
    )
    snapshots = sorted(
        (folder / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for snapshot in snapshots:
        files = [
            HubFile(path.relative_to(snapshot).as_posix(), path.stat().st_size)
            for path in snapshot.rglob("*.gguf")
            if path.is_file()
        ]
        try:
            chosen_files(reference, files)
        except HubError:
            continue
        return snapshot.name, files
    raise error
