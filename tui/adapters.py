"""Adapter files on their way into the rack: read, checked against the base, given a free name.

Everything here reads and hashes whole files, so the chat calls it in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.adapters.read import read_adapter, require_base
from engine.errors import AdapterError, EngineError
from engine.stack import AdapterStack, StackEntry
from modelfiles.model import Model
from modelfiles.names import free_name
from tui.fit import adapter_notices
from tui.sanitize import printable_line


@dataclass(frozen=True, slots=True)
class NewAdapter:
    """An adapter for the rack and what is odd about it."""

    entry: StackEntry
    notices: tuple[str, ...] = ()
    """Sentences on what of it does nothing, or something else, on this base."""


def read_stack(model: Model) -> tuple[AdapterStack, tuple[str, ...]]:
    """Return the model's stack and sentences on adapters left out, or odd ones.

    Raises `BaseError` or `GgufError` where the base is none.
    """
    base = require_base(model.base)
    entries: list[StackEntry] = []
    sentences: list[str] = []
    for spec in model.adapters:
        try:
            odd = adapter_notices(spec.path, base)
            entries.append(StackEntry(read_adapter(spec.path, spec.name), spec.scale))
            sentences += [f"{spec.name}: {text}" for text in odd]
        except EngineError as error:
            sentences.append(f"{spec.name} is left out. {error}")
    return AdapterStack(tuple(entries)), tuple(sentences)


def read_new_adapter(reference: str, stack: AdapterStack, base: Path) -> NewAdapter:
    """Return the adapter in the file that a person named, switched on at 1.0.

    Raises `AdapterError` or `GgufError` with a sentence where it is missing, no adapter, made for
    another base, or in the stack already.
    """
    path = _existing_file(reference)
    odd = adapter_notices(path, require_base(base))
    adapter = read_adapter(path)
    for entry in stack:
        if entry.adapter.sha256 == adapter.sha256:
            raise AdapterError(f"This adapter is in the rack already, as {entry.adapter.name}.")
    taken = {entry.adapter.name for entry in stack}
    entry = StackEntry(msgspec.structs.replace(adapter, name=free_name(adapter.name, taken)))
    return NewAdapter(entry, odd)


def _existing_file(reference: str) -> Path:
    """Return the path typed, also one pasted in a shell's quotes."""
    text = reference.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    try:
        path = Path(text).expanduser().absolute()
        is_there, is_file = path.exists(), path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long, no such home folder, a zero byte
        raise AdapterError(f"{printable_line(text)} cannot be a path: name a file.") from None
    if not is_there:
        raise AdapterError(f"There is no file {printable_line(str(path))}.")
    if not is_file:
        raise AdapterError(f"{printable_line(str(path))} is not a file: name a GGUF adapter.")
    return path
