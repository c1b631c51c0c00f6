"""Read adapter files for the rack, check them against the base and give each a free name.

These functions read and hash whole files, so the chat calls them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.adapters.checking.check import require_fit
from engine.adapters.checking.ignored_tensors import notices
from engine.adapters.read import adapter_name, read_adapter
from engine.errors import AdapterError, EngineError
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import require_base
from engine.resolve.converted import NewGguf, converted_adapter
from engine.stack import AdapterStack, StackEntry
from modelfiles.model import Model
from modelfiles.references.files import is_foreign_adapter
from modelfiles.references.model_name import free_name
from modelfiles.wording import printable


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


def read_new_adapter(
    reference: str,
    stack: AdapterStack,
    base: Path,
    converted_folder: Path | None = None,
    *,
    on_progress: Callable[[float], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> NewAdapter:
    """Return the adapter that the user named, switched on at scale 1.0.

    `reference` is a GGUF file, or the folder or file of a PEFT or MLX adapter. The latter is
    converted for the base and kept in `converted_folder`; only the conversion calls `on_progress`
    and `is_cancelled`.

    Raises `EngineError` with one sentence if the adapter is missing, unreadable, made for another
    base or already in the stack, and `Cancelled` if `is_cancelled` returned True.
    """
    path = _existing(reference, is_folder_fine=converted_folder is not None)
    header = require_base(base)
    made: NewGguf | None = None
    if converted_folder is not None and is_foreign_adapter(path):
        made = converted_adapter(path, header, converted_folder, on_progress, is_cancelled)
    file = path if made is None else made.path
    # The user knows the adapter by the path they named, not by its place in the cache.
    odd = tuple(n.replace(str(file), str(path)) for n in adapter_notices(file, header))
    adapter = read_adapter(file, None if made is None else adapter_name(made.title, path))
    for entry in stack:
        if entry.adapter.sha256 == adapter.sha256:
            raise AdapterError(f"This adapter is in the rack already, as {entry.adapter.name}.")
    taken = {entry.adapter.name for entry in stack}
    entry = StackEntry(msgspec.structs.replace(adapter, name=free_name(adapter.name, taken)))
    if made is None:
        return NewAdapter(entry, odd)
    return NewAdapter(entry, (*made.notices, *odd), made.sentence)


def _existing(reference: str, *, is_folder_fine: bool) -> Path:
    """Return the typed path, which may be in a shell's quotes, as an absolute path.

    It must lead to a file, or, with `is_folder_fine`, to an adapter that can be converted.
    """
    text = reference.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    try:
        path = Path(text).expanduser().absolute()
        is_there, is_file = path.exists(), path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long, no such home folder, a zero byte
        raise AdapterError(f"{printable(text)} cannot be a path: name a file.") from None
    if not is_there:
        raise AdapterError(f"There is no file {printable(str(path))}.")
    if not is_file and not (is_folder_fine and is_foreign_adapter(path)):
        what = "holds no adapter" if path.is_dir() else "is not a file"
        raise AdapterError(
            f"{printable(str(path))} {what}: name a GGUF adapter, or the folder of a PEFT or "
            "MLX adapter."
        )
    return path


def adapter_notices(adapter: Path, base: GgufHeader) -> tuple[str, ...]:
    """Return sentences on parts of the adapter that have no effect on this base.

    Raises `AdapterError` or `GgufError` unless the adapter fits the base.
    """
    header = read_header(adapter)
    require_fit(header, base)
    return notices(header, base)
