"""Find the pulled adapter that the user names, and pull it if necessary."""

from __future__ import annotations

from pathlib import Path

from engine.errors import HubError
from engine.hub.pull.adapter import known_adapter, pull_adapter
from engine.resolve.watch import Watch
from modelfiles.errors import ReferenceNotFoundError, StoreError
from modelfiles.references.hub import HubReference
from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters
from modelfiles.state.home import state_home


def pulled_adapter(reference: str, home: Path, watch: Watch) -> PulledAdapter | None:
    """Return the adapter that `hf.co/user/repo[:file or folder]` or the name of a pulled one means.

    A reference is pulled unless its newest revision is here already, and so is a name whose file is
    gone. Returns None if the text is neither. `home` is the home of all state.

    Raises `HubError` with one sentence if the adapter cannot be pulled, `Cancelled` if
    `watch` cancelled it, and `StoreError` if the record cannot be read or written.
    """
    try:
        hub = HubReference.parse(reference, "adapter")
    except ValueError as error:
        raise HubError(f"{error}.") from None
    if hub is None:
        record = _called(reference, home)
        if record is None or record.is_there:
            return record
        hub = HubReference(record.repo, record.file, "adapter")

    return pull_adapter(hub, home, on_bytes=watch.on_bytes, is_cancelled=watch.is_cancelled)


def pulled_by(text: str, home: Path | None = None) -> PulledAdapter | None:
    """Return the pulled adapter that a name or a reference means, without asking the Hub."""
    home = state_home() if home is None else home
    try:
        hub = HubReference.parse(text, "adapter")
        return _called(text, home) if hub is None else known_adapter(hub, PulledAdapters(home))
    except (StoreError, ValueError):  # the caller reports an error of its own
        return None


def _called(name: str, home: Path) -> PulledAdapter | None:
    try:
        return PulledAdapters(home).get(name)
    except ReferenceNotFoundError:
        return None
