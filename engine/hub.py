"""Files from the Hugging Face Hub, through its own client and its own cache.

The client is imported only here and only when something is downloaded: it costs 0.2 s and more.
`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import HubError
from engine.hub_errors import explained, no_network
from engine.hub_files import HubFile, chosen_files
from modelfiles.hub_reference import HubReference

OnFraction = Callable[[str, float], None]


def download(reference: HubReference, on_progress: OnFraction) -> Path:
    """Bring what a reference means into the Hub's cache and return its file.

    Of a split model every part is brought and the first one returned. `on_progress` hears what
    is being downloaded and how much of all is there, from 0 to 1. What the cache has already is
    taken from there, also without a network. Raises `HubError`.
    """
    with explained(f"hf.co/{reference.repo}"):
        try:
            revision, files = _files_of(reference)
        except no_network() as error:
            revision, files = _cached_files(reference, error)
        chosen = chosen_files(reference, files)
        paths = _download_all(reference, revision, chosen, on_progress)
    return paths[0]


def _files_of(reference: HubReference) -> tuple[str, list[HubFile]]:
    """Return the commit of the repository and its files."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(reference.repo, files_metadata=True)
    files = [HubFile(file.rfilename, file.size or 0) for file in info.siblings or ()]
    return info.sha or "main", files


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


def _download_all(
    reference: HubReference, revision: str, files: Sequence[HubFile], on_progress: OnFraction
) -> list[Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    total_bytes = max(sum(file.size_bytes for file in files), 1)
    done_bytes = 0
    title = f"downloading {reference.display}"

    class Bar(tqdm):
        """Passes what the client reports on, and shows nothing itself."""

        def __init__(self, *args: Any, **options: Any) -> None:
            options["disable"] = True
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]  # as the client is

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done_bytes
            done_bytes += int(n or 0)
            on_progress(title, done_bytes / total_bytes)
            return None

    paths = []
    before = 0
    for file in files:
        on_progress(title, before / total_bytes)
        path = hf_hub_download(reference.repo, file.path, revision=revision, tqdm_class=Bar)
        paths.append(Path(path))
        # A file that the cache had is never reported.
        before = done_bytes = before + file.size_bytes
    return paths
