"""Resolve what the user names as an adapter: the one answer that commands, chat and library give.

An adapter is named by, in this order:

1. the name of an adapter in the model's stack, where there is a stack;
2. an existing path: a GGUF file, the folder or weights of a PEFT or MLX adapter, or a folder with
   one GGUF; `~` is expanded, and quotes around a pasted path are taken off;
3. `hf.co/user/repo[:file or folder]`, which is pulled unless its newest revision is here;
4. the name of a pulled adapter.

The stack comes first, because its names are what a person mixes: a file that happens to lie in the
folder must not change which adapter a name rescales, and `./name` always means the file. A path
comes before the Hub and before pulled names, as ADAPTER has it in every Modelfile. A path, address
or pulled name that leads to the file of an adapter in the stack means that adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from engine.errors import EngineError
from engine.gguf.header import GgufHeader
from engine.resolve.converted import NewGguf, converted_adapter, converted_folder
from engine.resolve.pulled import pulled_adapter
from engine.resolve.watch import Watch
from modelfiles.errors import ReferenceNotFoundError
from modelfiles.model import AdapterSpec
from modelfiles.references.files import expand, gguf_at, is_foreign_adapter, is_there
from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters
from modelfiles.references.resolve import adapter_id
from modelfiles.state.home import state_home
from modelfiles.wording import hint, printable, quoted

_UNWATCHED: Final = Watch()


@dataclass(frozen=True, slots=True)
class ResolvedAdapter:
    """The adapter that a reference means."""

    path: Path
    """A GGUF file, the folder or weights of a PEFT or MLX adapter, or a folder with one GGUF."""
    name: str = ""
    """Its name in the stack or as a pulled adapter; empty if only its path names it."""
    spec: AdapterSpec | None = None
    """The adapter of the stack that it is, or None."""
    address: str = ""
    """Where it was pulled from, `hf.co/user/repo`; empty for another."""

    @classmethod
    def of(cls, record: PulledAdapter) -> Self:
        """Return a pulled adapter."""
        return cls(Path(record.path), record.name, address=f"hf.co/{record.repo}")

    @property
    def is_foreign(self) -> bool:
        """Whether it is an adapter of PEFT or MLX, which has to be converted."""
        return is_foreign_adapter(self.path)

    @property
    def shown(self) -> str:
        """What to call it in messages."""
        return self.address or str(self.path)


class AdapterNotFoundError(ReferenceNotFoundError):
    """A reference names no adapter.

    Args:
        reference: What the user typed.
        tried: What it is not, such as `a file`.
        known: Names of which the nearest is suggested.
    """

    def __init__(self, reference: str, tried: Sequence[str], known: Iterable[str]) -> None:
        self.reference, self.tried, self.known = reference, tuple(tried), tuple(known)
        *others, last = self.tried
        super().__init__(
            f"There is no adapter {quoted(reference)}{hint(reference, self.known)}: it is neither"
            f" {', '.join(others)} nor {last}."
        )


def resolve_adapter(
    reference: str,
    *,
    stack: Sequence[AdapterSpec] = (),
    folder: Path | None = None,
    home: Path | None = None,
    watch: Watch = _UNWATCHED,
) -> ResolvedAdapter:
    """Return the adapter that a reference means, in the order that this module states.

    Args:
        reference: What the user typed.
        stack: The adapters in the model's stack.
        folder: Where relative paths start; None for the current folder.
        home: The home of all state; None for the default.
        watch: Follows a download.

    Raises:
        AdapterNotFoundError: Nothing has the name.
        ModelfilesError: There is no such path, it cannot be looked at, or the address names no
            repository.
        HubError: The adapter cannot be pulled.
        Cancelled: `watch` cancelled the download.
    """
    for spec in stack:
        if spec.name == reference.strip():
            return ResolvedAdapter(spec.path, spec.name, spec)
    text, path = _path_of(reference, folder or Path.cwd())
    if is_there(path) and text:
        return _in_stack(ResolvedAdapter(path), stack)
    home = home or state_home()
    record = pulled_adapter(text, home, watch) if text else None
    if record is not None:
        return _in_stack(ResolvedAdapter.of(record), stack)
    if "/" in text or text[:1] in ("~", "."):
        raise ReferenceNotFoundError(f"There is no file or folder {printable(path)}.")
    names = [spec.name for spec in stack]
    raise AdapterNotFoundError(
        reference,
        (
            "a file",
            *([f"in the stack ({', '.join(names)})"] if names else ()),
            "pulled ('tui list --adapters')",
        ),
        (*names, *(record.name for record in PulledAdapters(home).list())),
    )


def gguf_of(
    adapter: ResolvedAdapter,
    base: Path | GgufHeader,
    *,
    cache: Path | None = None,
    watch: Watch = _UNWATCHED,
) -> AdapterSpec:
    """Return an adapter's GGUF file, converted for `base` if necessary, and its name.

    The name is that in the stack or of the pulled adapter, else the file's or folder's. `cache` is
    the folder of converted adapters; None for the default. `watch` follows the conversion and is
    told of it.

    Raises `EngineError` if the adapter cannot be converted, and `ModelfilesError` if its path does
    not lead to one GGUF file.
    """
    made = converted_for(adapter, base, cache or converted_folder(state_home()), watch)
    if made is None:
        file = gguf_at(adapter.path, "adapter")
        return AdapterSpec(adapter.name or adapter_id(file), file)
    for sentence in (made.sentence, *made.notices):
        watch.tell(sentence)
    folder = adapter.path if adapter.path.is_dir() else adapter.path.parent
    return AdapterSpec(adapter.name or adapter_id(folder), made.path)


def converted_for(
    adapter: ResolvedAdapter, base: Path | GgufHeader, cache: Path, watch: Watch = _UNWATCHED
) -> NewGguf | None:
    """Return an adapter of PEFT or MLX converted for `base`; None if it is GGUF already.

    Raises `EngineError` if it cannot be converted, and `Cancelled` if `watch` cancelled it.
    """
    if not adapter.is_foreign:
        return None
    return converted_adapter(adapter.path, base, cache, watch)


def find_adapter(
    reference: str, folder: Path, base: Path, watch: Watch = _UNWATCHED
) -> AdapterSpec:
    """Return the adapter that an ADAPTER line names; the `AdapterLookup` of `modelfiles`.

    Raises `ModelfilesError` alone, which begins with the line there.
    """
    try:
        return gguf_of(resolve_adapter(reference, folder=folder, watch=watch), base, watch=watch)
    except EngineError as error:
        raise ReferenceNotFoundError(str(error)) from error


def _path_of(reference: str, folder: Path) -> tuple[str, Path]:
    """Return the reference, without blanks and quotes around it unless a path has them, as a path.

    Terminals and file managers paste paths in a shell's quotes.
    """
    path = expand(reference, folder)
    text = reference.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text == reference or (reference.strip() and is_there(path)):
        return reference, path
    return text, expand(text, folder)


def _in_stack(adapter: ResolvedAdapter, stack: Sequence[AdapterSpec]) -> ResolvedAdapter:
    """Return the adapter of the stack that has this adapter's file, else the adapter itself."""
    if not stack or not adapter.path.is_file():
        return adapter
    file = adapter.path.resolve()
    same = next((spec for spec in stack if spec.path.resolve() == file), None)
    return adapter if same is None else ResolvedAdapter(adapter.path, same.name, same)
