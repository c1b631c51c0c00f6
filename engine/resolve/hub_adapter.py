"""Make what the user names, or finds on the Hub, an adapter for the rack.

These functions wait for the network or read whole files, so the chat calls them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.adapters.read import adapter_name, read_adapter
from engine.errors import AdapterError
from engine.gguf.model_header import require_base
from engine.hub.pull.adapter import RemoteAdapter, pull_adapter
from engine.resolve.adapter import NewAdapter, adapter_notices
from engine.resolve.converted import converted_folder
from engine.resolve.reference import ResolvedAdapter, converted_for, resolve_adapter
from engine.resolve.watch import Watch
from engine.stack import AdapterStack, StackEntry
from modelfiles.errors import StoreError, naming
from modelfiles.model import AdapterSpec
from modelfiles.references.files import gguf_at
from modelfiles.references.hub import HubReference
from modelfiles.references.model_name import free_name
from modelfiles.references.pulled_adapters import PulledAdapters


def pulled_for_rack(
    remote: RemoteAdapter,
    stack: Callable[[], AdapterStack],
    base: Path,
    home: Path,
    watch: Watch,
) -> NewAdapter:
    """Pull an adapter and return it for the rack, switched on at scale 1.0.

    Raises `EngineError` or `StoreError` with a sentence, and `Cancelled` if `watch` cancelled it.
    """
    label = remote.choice.label or remote.choice.weights.path
    reference = HubReference(remote.repo, label, "adapter")
    record = pull_adapter(
        reference,
        home,
        remote=remote,
        on_bytes=watch.on_bytes,
        is_cancelled=watch.is_cancelled,
    )
    return _new_adapter(ResolvedAdapter.of(record), stack(), base, home, watch)


def is_pulled(remote: RemoteAdapter, home: Path) -> bool:
    """Return whether this revision of an adapter is on this machine already."""
    try:
        record = PulledAdapters(home).find(remote.repo, remote.choice.weights.path)
    except StoreError:
        # The pull itself reports what is wrong.
        return False
    return record is not None and record.revision == remote.revision and record.is_there


def named_adapter(
    text: str, stack: AdapterStack, base: Path, home: Path, watch: Watch
) -> NewAdapter:
    """Return the adapter that the user typed, as `resolve_adapter` finds it, for the rack.

    Raises the errors of `pulled_for_rack` and of `resolve_adapter`.
    """
    specs = [AdapterSpec(e.adapter.name, e.adapter.file, e.scale) for e in stack]
    adapter = resolve_adapter(text, stack=specs, home=home, watch=watch)
    return _new_adapter(adapter, stack, base, home, watch)


def _new_adapter(
    named: ResolvedAdapter, stack: AdapterStack, base: Path, home: Path, watch: Watch
) -> NewAdapter:
    """Return an adapter under a free name, switched on at scale 1.0.

    Raises `EngineError` with one sentence if it is unreadable, made for another base or in the
    stack already, and `ModelfilesError` if its path does not lead to one adapter.
    """
    if named.spec is not None:
        raise _in_rack_already(named.spec.name)
    header = require_base(base)
    # The user knows the adapter by the path or address they named, not by its place in a cache.
    with naming({named.path: named.shown}):
        made = converted_for(named, header, converted_folder(home), watch)
        file = gguf_at(named.path, "adapter") if made is None else made.path
        with naming({file: named.shown}):
            notices = adapter_notices(file, header)
            title = None if made is None else adapter_name(made.title, named.path)
            adapter = read_adapter(file, named.name or title)
    for entry in stack:
        if entry.adapter.sha256 == adapter.sha256:
            raise _in_rack_already(entry.adapter.name)
    taken = {entry.adapter.name for entry in stack}
    entry = StackEntry(msgspec.structs.replace(adapter, name=free_name(adapter.name, taken)))
    if made is None:
        return NewAdapter(entry, notices)
    return NewAdapter(entry, (*made.notices, *notices), made.sentence)


def _in_rack_already(name: str) -> AdapterError:
    return AdapterError(f"This adapter is in the rack already, as {name}.")
