"""Downloads that a Modelfile asks for, with a progress bar on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelfiles.references.hub import HubReference


def download(reference: HubReference) -> Path:
    """Bring a file of the Hugging Face Hub into its cache and return where it lies there.

    Raises `ReferenceNotFoundError` with the reason where it cannot.
    """
    from engine.errors import HubError
    from engine.hub.download import download as fetch
    from modelfiles.errors import ReferenceNotFoundError
    from tui.progress import Progress

    with Progress() as progress:
        try:
            return fetch(reference, progress.show_bytes)
        except HubError as error:
            raise ReferenceNotFoundError(str(error)) from error
