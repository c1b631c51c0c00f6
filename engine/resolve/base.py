"""Resolve what the user names as a base or a model: NAME, `--base` and what extract compares."""

from __future__ import annotations

from pathlib import Path

from engine.gguf.model_header import require_base
from engine.hub.pull.download import download
from engine.resolve.pulled import pulled_by
from engine.resolve.watch import Watch
from modelfiles.errors import ModelNameError, ModelNotFoundError
from modelfiles.model import FoundModel
from modelfiles.references.base import ModelLookup, find_base
from modelfiles.references.hub import HubReference
from modelfiles.wording import printable


def resolve_base(reference: str, library: ModelLookup, watch: Watch | None = None) -> FoundModel:
    """Return the model that a reference means, in the order of `find_base`, which FROM has too.

    A file gives a model of that file alone: no adapters, default parameters, and the file's own
    chat template. `watch` follows a download; without it nothing is downloaded.

    Raises what `find_base` raises, `BaseError` or `GgufError` if a file is not a base model, and
    `HubError` if it cannot be downloaded.
    """

    def fetch(hub: HubReference) -> Path:
        on_bytes = (watch or Watch()).on_bytes
        return download(hub, lambda _title, done, total: on_bytes(done, total))

    if not reference.strip():
        raise ModelNameError("The name of the model is empty: name one of 'tui list', or a GGUF.")
    try:
        found = find_base(reference, Path.cwd(), library, None if watch is None else fetch)
    except ModelNotFoundError as error:
        record = pulled_by(reference)
        if record is None:
            raise
        raise ModelNotFoundError(
            f"{printable(reference)} is a pulled adapter, not a model: name its base, as in"
            f" 'tui run NAME --lora {record.name}'"
        ) from error
    if found.origin in ("file", "hub"):
        require_base(found.model.base)
    return found
