"""Pull adapters of the Hub for the rack, check them, and convert them if necessary.

These functions wait for the network or read whole files, so the chat calls them in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from engine.errors import AdapterError, EngineError
from engine.hub.pull.adapter import RemoteAdapter, pull_adapter
from engine.resolve.adapter import NewAdapter, read_new_adapter
from engine.resolve.converted import converted_folder
from engine.resolve.pulled import pulled_adapter
from engine.stack import AdapterStack, StackEntry
from modelfiles.errors import StoreError
from modelfiles.references.hub import HubReference
from modelfiles.references.model_name import free_name
from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters
from modelfiles.wording import printable


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks to follow and to cancel work in a thread."""

    on_bytes: Callable[[int, int], None] = lambda _done, _total: None
    """Called with the bytes that have arrived and the total of a download."""
    on_progress: Callable[[float], None] = lambda _: None
    """Called with the fraction of a conversion that is done, from 0 to 1."""
    is_cancelled: Callable[[], bool] = lambda: False


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
    return adapter_of(record, stack(), base, home, watch)


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
    """Return the adapter that the user typed: a path, `hf.co/user/repo[:file]`, or a pulled name.

    Raises the errors of `pulled_for_rack`.
    """
    text = text.strip()
    # An existing path takes precedence over a name.
    is_path = os.path.exists(os.path.expanduser(text))
    record = (
        None
        if is_path
        else pulled_adapter(text, home, on_bytes=watch.on_bytes, is_cancelled=watch.is_cancelled)
    )
    if record is not None:
        return adapter_of(record, stack, base, home, watch)
    if text and not is_path and "/" not in text and text[0] not in "'\"~":
        raise AdapterError(
            f"There is no file {printable(text)}, and no pulled adapter has that name."
        )
    return read_new_adapter(
        text,
        stack,
        base,
        converted_folder(home),
        on_progress=watch.on_progress,
        is_cancelled=watch.is_cancelled,
    )


def adapter_of(
    record: PulledAdapter, stack: AdapterStack, base: Path, home: Path, watch: Watch
) -> NewAdapter:
    """Return a pulled adapter for the rack, under the name that `--lora` and `ADAPTER` use."""
    address = f"hf.co/{record.repo}"
    try:
        new = read_new_adapter(
            record.path,
            stack,
            base,
            converted_folder(home),
            on_progress=watch.on_progress,
            is_cancelled=watch.is_cancelled,
        )
    except EngineError as error:
        raise type(error)(str(error).replace(record.path, address)) from error
    taken = {entry.adapter.name for entry in stack}
    adapter = msgspec.structs.replace(new.entry.adapter, name=free_name(record.name, taken))
    return replace(
        new,
        entry=StackEntry(adapter, new.entry.scale),
        notices=tuple(notice.replace(record.path, address) for notice in new.notices),
        conversion=new.conversion.replace(record.path, address),
    )
