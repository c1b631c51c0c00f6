"""Read the adapters of a stack and check them against the base.

These functions read and hash whole files, so the chat calls them in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

from engine.adapters.checking.check import require_fit
from engine.adapters.checking.ignored_tensors import notices
from engine.adapters.read import read_adapter
from engine.errors import EngineError
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import require_base
from engine.stack import AdapterStack, StackEntry
from modelfiles.errors import naming
from modelfiles.model import AdapterSpec, Model


@dataclass(frozen=True, slots=True)
class NewAdapter:
    """An adapter for the rack and the notices about it."""

    entry: StackEntry
    notices: tuple[str, ...] = ()
    """Sentences on parts that have no effect, or a different one, on this base."""
    conversion: str = ""
    """Sentence that says it was converted from another program's format; empty if it was not."""


def read_stack(model: Model) -> tuple[AdapterStack, tuple[str, ...]]:
    """Return the model's stack and sentences on its adapters: notices, and why one is left out.

    Raises `BaseError` or `GgufError` if the model's base is not a usable base model.
    """
    with naming(model.names):
        base = require_base(model.base)
    entries: list[StackEntry] = []
    sentences = list(equal_adapters(model.adapters))
    for spec in model.adapters:
        try:
            odd = adapter_notices(spec.path, base)
            entries.append(StackEntry(read_adapter(spec.path, spec.name), spec.scale))
            sentences += [f"{spec.name}: {text}" for text in odd]
        except EngineError as error:
            sentences.append(f"{error.about(model.names)} The adapter {spec.name} is left out.")
    return AdapterStack(tuple(entries)), tuple(sentences)


def equal_adapters(specs: Sequence[AdapterSpec]) -> tuple[str, ...]:
    """Return a sentence for each adapter that has the content of an earlier one of the stack."""
    return tuple(
        f"{spec.name} is the same adapter as {earlier.name}: their scales add up."
        for n, spec in enumerate(specs)
        for earlier in specs[:n]
        if _is_equal(earlier.path, spec.path)
    )


def _is_equal(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other) or cmp(one, other, shallow=False)
    except OSError:  # a missing file is reported where it is read
        return False


def adapter_notices(adapter: Path, base: GgufHeader) -> tuple[str, ...]:
    """Return sentences on parts of the adapter that have no effect on this base.

    Raises `AdapterError` or `GgufError` unless the adapter fits the base.
    """
    header = read_header(adapter)
    require_fit(header, base)
    return notices(header, base)
