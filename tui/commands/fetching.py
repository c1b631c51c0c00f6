"""Download files that a Modelfile or a command names, with a progress bar on stderr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.adapters.checking.tied_output import can_untie, is_tied, untied
from engine.errors import EngineError, HubError
from engine.gguf.model_header import require_base
from engine.hub.pull.download import download as fetch
from engine.resolve.converted import converted_adapter, converted_folder
from engine.resolve.pulled import pulled_adapter
from modelfiles.errors import ReferenceNotFoundError
from modelfiles.references.hub import HubReference
from modelfiles.references.pulled_adapters import PulledAdapter
from modelfiles.state.home import state_home
from tui.terminal.output import note
from tui.terminal.progress import Progress


def download(reference: HubReference) -> Path:
    """Download a file of the Hugging Face Hub into its cache and return its path there.

    Raises `ReferenceNotFoundError` with the reason on failure.
    """

    with Progress() as progress:
        try:
            return fetch(reference, progress.show_bytes)
        except HubError as error:
            raise ReferenceNotFoundError(str(error)) from error


def convert_and_tell(
    source: Path,
    base: Path,
    tell: Callable[[str], object] | None = None,
    *,
    is_untied: bool = False,
) -> Path:
    """Return the GGUF of an adapter named on the command line or in a Modelfile.

    A progress bar shows on stderr during the conversion. Afterwards `tell`, by default a note on
    stderr, gets the sentence about the conversion and the notices. `is_untied` treats the base as
    `tui merge` can make it, with output weights separate from its embeddings, so that adapters of
    either can be converted. Raises `ReferenceNotFoundError` with the reason if it cannot be
    converted.
    """
    with Progress() as progress:
        try:
            header = require_base(base)
            if is_untied and is_tied(header) and can_untie(header.architecture):
                header = untied(header)
            made = converted_adapter(
                source,
                header,
                converted_folder(state_home()),
                lambda fraction: progress.show(f"converting {source.name}", fraction),
            )
        except EngineError as error:
            raise ReferenceNotFoundError(str(error)) from error
    for sentence in (made.sentence, *made.notices):
        (tell or note)(sentence)
    return made.path


def pull_and_tell(reference: str) -> PulledAdapter | None:
    """Return the adapter that a command line or a Modelfile names, with a bar on stderr.

    Like `pulled_adapter`, but raises `ReferenceNotFoundError` with the reason for a `HubError`.
    """
    with Progress() as progress:
        title = f"downloading {reference}"
        try:
            return pulled_adapter(
                reference, on_bytes=lambda done, total: progress.show_bytes(title, done, total)
            )
        except HubError as error:
            raise ReferenceNotFoundError(str(error)) from error
