"""The dialog that adds an adapter by its path, and converts it first where it is no GGUF."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from engine.adapters.conversion.convert import ConvertCancelled
from engine.errors import EngineError
from engine.stack import AdapterStack
from tui.adapters import NewAdapter, read_new_adapter
from tui.keys import Place, bindings_of
from tui.sanitize import printable_line
from tui.themes import MUTED

_REFRESH_S = 0.1


class AddAdapterScreen(ModalScreen[NewAdapter | None]):
    """Asks for a path until it leads to an adapter that fits, or gives None.

    Args:
        stack: The adapters that are there already.
        base: The file of the model that it is for.
        converted_folder: Where adapters of other programs are kept once they are converted.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.ADD))

    def __init__(self, stack: AdapterStack, base: Path, converted_folder: Path) -> None:
        super().__init__()
        self._stack = stack
        self._base = base
        self._converted_folder = converted_folder
        self._fraction: float | None = None
        """How much of a conversion is done; None where none is under way."""
        self._stop = Event()
        """Set when nobody waits any more for what is being read."""

    def compose(self) -> ComposeResult:
        """Lay out the field and the line that says what is wrong."""
        with Vertical(classes="dialog", id="add") as box:
            box.border_title = "Add an adapter"
            box.border_subtitle = "Enter adds · Tab completes · Esc cancels"
            yield Static(
                "Path of a LoRA adapter: a GGUF file, or the folder of a PEFT or MLX adapter, "
                "which is converted for this model",
                markup=False,
                classes="hint",
            )
            yield Input(
                placeholder="~/adapters/style.gguf",
                suggester=PathSuggester(),
                compact=True,
                id="path",
            )
            yield Static("", markup=False, id="problem")

    def on_mount(self) -> None:
        """Begin with the field."""
        self.query_one(Input).focus()
        self.set_interval(_REFRESH_S, self._show_progress)

    def action_complete(self) -> None:
        """Take the path suggested behind the cursor."""
        self.query_one(Input).action_cursor_right()

    def action_cancel(self) -> None:
        """Add nothing; a conversion under way ends after the pair it is at."""
        self._stop.set()
        self.dismiss(None)

    @on(Input.Changed)
    def _changed(self) -> None:
        self.query_one("#problem", Static).update("")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self._add(event.value)

    @work(exclusive=True)
    async def _add(self, reference: str) -> None:
        self._stop.set()
        self._stop = stop = Event()
        self._fraction = None
        problem = self.query_one("#problem", Static)
        problem.update(Content.styled("reading and checking…", MUTED))
        try:
            new = await asyncio.to_thread(
                read_new_adapter,
                reference,
                self._stack,
                self._base,
                self._converted_folder,
                on_progress=self._progressed,
                is_cancelled=stop.is_set,
            )
        except EngineError as error:
            self._fraction = None
            problem.update(Content.styled(printable_line(str(error)), "$text-error"))
            return
        except ConvertCancelled:
            return
        self.dismiss(new)

    def _progressed(self, fraction: float) -> None:
        """Keep how far the conversion is; called in its thread."""
        self._fraction = fraction

    def _show_progress(self) -> None:
        if self._fraction is not None:
            text = f"converting… {self._fraction:.0%}"
            self.query_one("#problem", Static).update(Content.styled(text, MUTED))


class PathSuggester(Suggester):
    """Suggests folders and GGUF files that begin with what was typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Return the first match, None where there is none."""
        return await asyncio.to_thread(suggested_path, value)


def suggested_path(typed: str) -> str | None:
    """Return `typed` completed to the first folder or GGUF file in the order of the alphabet."""
    head, slash, start = typed.rpartition("/")
    if not typed or typed == "~":
        return None
    try:
        folder = Path(head + slash or ".").expanduser()
        names = sorted(
            entry.name + ("/" if entry.is_dir() else "")
            for entry in folder.iterdir()
            if entry.name.startswith(start)
            and (start.startswith(".") or not entry.name.startswith("."))
            and (entry.is_dir() or entry.suffix.lower() == ".gguf")
        )
    except (OSError, RuntimeError):
        return None
    matches = [name for name in names if name != start and name == printable_line(name)]
    return head + slash + matches[0] if matches else None
