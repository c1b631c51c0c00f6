"""Adapters of other programs that a person names where a GGUF adapter is due: converted, told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tui.sanitize import printable_line
from tui.units import hub_address

if TYPE_CHECKING:
    from engine.adapters.header import GgufHeader


@dataclass(frozen=True, slots=True)
class NewGguf:
    """The GGUF adapter that was made of one of another program."""

    path: Path
    title: str
    """What the adapter is called."""
    sentence: str
    """Says what was converted, or that it was before."""
    notices: tuple[str, ...]


def converted_folder(home: Path) -> Path:
    """Return where converted adapters are kept, below the home of all state."""
    return home / "cache" / "converted"


def converted_adapter(
    source: Path,
    base: Path | GgufHeader,
    folder: Path,
    on_progress: Callable[[float], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> NewGguf:
    """Return an adapter of PEFT or MLX as a GGUF for `base`, converted unless `folder` has it.

    Raises `EngineError` with one sentence where it cannot be converted, `Cancelled` where
    `is_cancelled` said so.
    """
    from engine.adapters.conversion.cache import converted
    from engine.adapters.header import GgufHeader
    from engine.adapters.read import require_base

    header = base if isinstance(base, GgufHeader) else require_base(base)
    made = converted(source, header, folder, on_progress=on_progress, is_cancelled=is_cancelled)
    base_name = header.text("general.name") or header.path.name
    when = "was converted" if made.is_new else "had been converted before"
    return NewGguf(
        path=made.path,
        title=made.title,
        sentence=printable_line(f"{hub_address(str(source)) or source} {when} for {base_name}."),
        notices=made.notices,
    )


def convert_and_tell(
    source: Path,
    base: Path,
    tell: Callable[[str], object] | None = None,
    *,
    is_untied: bool = False,
) -> Path:
    """Return the GGUF of an adapter named on the command line or in a Modelfile.

    A bar shows on stderr while it is converted; `tell`, by default a note on stderr, hears that it
    was and what is odd about it. `is_untied` takes the base as `tui merge` can make it, with an
    output apart from its embeddings, so that adapters of either can be converted. Raises
    `ReferenceNotFoundError` with the reason where it cannot be.
    """
    from engine.adapters.merging.untying import can_untie, is_tied, untied
    from engine.adapters.read import require_base
    from engine.errors import EngineError
    from modelfiles.errors import ReferenceNotFoundError
    from modelfiles.state.home import state_home
    from tui.output import note
    from tui.progress import Progress

    with Progress() as progress:
        try:
            header = require_base(base)
            if is_untied and is_tied(header) and can_untie(header.architecture):
                header = untied(header)
            made = converted_adapter(
                source,
                header,
                converted_folder(state_home()),
                lambda fraction: progress.show(f"converting {source.name}", fraction),
            )
        except EngineError as error:
            raise ReferenceNotFoundError(str(error)) from error
    for sentence in (made.sentence, *made.notices):
        (tell or note)(sentence)
    return made.path
