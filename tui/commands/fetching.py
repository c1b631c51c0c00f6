"""Find what a command line or a Modelfile names, with a progress bar on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import HubError
from engine.hub.pull.download import download as fetch
from engine.resolve.reference import find_adapter
from engine.resolve.watch import Watch
from modelfiles.errors import ReferenceNotFoundError
from modelfiles.model import AdapterSpec
from modelfiles.references.hub import HubReference
from tui.terminal.output import note
from tui.terminal.progress import Progress


@contextmanager
def watching(reference: str, tell: Callable[[str], object] = note) -> Iterator[Watch]:
    """Yield a watch that shows a bar while `reference` is downloaded or converted.

    `tell` gets the sentences about a conversion, by default as notes on stderr, once the bar is
    gone.
    """
    sentences: list[str] = []
    with Progress() as progress:
        yield Watch(
            lambda done, total: progress.show_bytes(f"downloading {reference}", done, total),
            lambda fraction: progress.show(f"converting {reference}", fraction),
            tell=sentences.append,
        )
    for sentence in sentences:
        tell(sentence)


def download(reference: HubReference) -> Path:
    """Download a file that FROM names into the Hub's cache and return its path there.

    Raises `ReferenceNotFoundError` with the reason on failure.
    """
    with Progress() as progress:
        try:
            return fetch(reference, progress.show_bytes)
        except HubError as error:
            raise ReferenceNotFoundError(str(error)) from error


def adapter_of_line(reference: str, folder: Path, base: Path) -> AdapterSpec:
    """Return the adapter that an ADAPTER line names; the `AdapterLookup` of `tui create`."""
    with watching(reference) as watch:
        return find_adapter(reference, folder, base, watch)
