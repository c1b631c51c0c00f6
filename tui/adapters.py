"""Adapter files on their way into the rack: read, checked against the base, given a free name.

Everything here reads and hashes whole files, so the chat calls it in a thread.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.adapters.check import require_fit
from engine.adapters.read import read_adapter, require_base
from engine.errors import AdapterError, EngineError
from engine.stack import AdapterStack, StackEntry
from modelfiles.model import Model
from tui.sanitize import printable_line


def read_stack(model: Model) -> tuple[AdapterStack, tuple[str, ...]]:
    """Return the model's stack and a sentence for every adapter that had to be left out.

    Raises `BaseError` or `GgufError` where the base is none.
    """
    require_base(model.base)
    entries: list[StackEntry] = []
    problems: list[str] = []
    for spec in model.adapters:
        try:
            require_fit(spec.path, model.base)
            entries.append(StackEntry(read_adapter(spec.path, spec.name), spec.scale))
        except EngineError as error:
            problems.append(f"{spec.name} is left out. {error}")
    return AdapterStack(tuple(entries)), tuple(problems)


def read_new_entry(reference: str, stack: AdapterStack, base: Path) -> StackEntry:
    """Return the adapter in the file that a person named, switched on at 1.0.

    Raises `AdapterError` or `GgufError` with a sentence where it is missing, no adapter, made for
    another base, or in the stack already.
    """
    path = Path(reference.strip()).expanduser().absolute()
    if not path.exists():
        raise AdapterError(f"There is no file {printable_line(str(path))}.")
    if not path.is_file():
        raise AdapterError(f"{printable_line(str(path))} is not a file: name a GGUF adapter.")
    require_fit(path, base)
    adapter = read_adapter(path)
    for entry in stack:
        if entry.adapter.sha256 == adapter.sha256:
            raise AdapterError(f"This adapter is in the rack already, as {entry.adapter.name}.")
    name = free_name(adapter.name, stack)
    return StackEntry(msgspec.structs.replace(adapter, name=name))


def free_name(name: str, stack: AdapterStack) -> str:
    """Return the name, numbered where the stack has it already: `style`, `style-2`."""
    candidate, number = name, 2
    while stack.find(candidate) is not None:
        candidate, number = f"{name}-{number}", number + 1
    return candidate
