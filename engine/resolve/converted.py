"""Convert PEFT and MLX adapters that the user names where a GGUF adapter is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.adapters.conversion.converted_files import converted
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from engine.hub.client.addresses import hub_address
from engine.resolve.watch import Watch
from modelfiles.wording import printable


@dataclass(frozen=True, slots=True)
class NewGguf:
    """A GGUF adapter that was converted from another program's adapter."""

    path: Path
    title: str
    """Title of the adapter."""
    sentence: str
    """Sentence that says what was converted, now or earlier."""
    notices: tuple[str, ...]


def converted_folder(home: Path) -> Path:
    """Return the folder of converted adapters, below the home of all state."""
    return home / "cache" / "converted"


def converted_adapter(source: Path, base: Path | GgufHeader, folder: Path, watch: Watch) -> NewGguf:
    """Return a PEFT or MLX adapter as a GGUF for `base`, converted unless `folder` has it.

    Raises `EngineError` with one sentence if it cannot be converted, and `Cancelled` if
    `watch` cancelled it.
    """
    header = base if isinstance(base, GgufHeader) else require_base(base)
    made = converted(
        source, header, folder, on_progress=watch.on_progress, is_cancelled=watch.is_cancelled
    )
    base_name = header.text("general.name") or header.path.name
    when = "was converted" if made.is_new else "had been converted before"
    return NewGguf(
        path=made.path,
        title=made.title,
        sentence=printable(f"{hub_address(str(source)) or source} {when} for {base_name}."),
        notices=made.notices,
    )
