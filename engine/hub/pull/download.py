"""Files from the Hugging Face Hub, through its own client and its own cache.

The client is imported only here and only when something is downloaded: it costs 0.2 s and more.
`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean to it.
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
"""Hears what is downloaded, how many bytes of it are there and how many there are to be."""


def download(reference: HubReference, on_progress: OnDownload) -> Path:
    """Bring what a reference means into the Hub's cache and return its file.

    Of a split model every part is brought and the first one returned. `on_progress` hears what
    is being downloaded and how many bytes are there, of how many. What the cache has already is
    taken from there, also without a network. Raises `HubError`.
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
    """Return the commit of the repository and its files."""
    info = repository_info(reference.repo)
    return info.sha or "main", list(info.files)


def _cached_files(reference: HubReference, error: Exception) -> tuple[str, list[HubFile]]:
    """Return the newest snapshot in the cache that has what is meant; raises `error` else."""
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
