"""The dialog that adds an adapter by its path."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from engine.errors import EngineError
from engine.stack import AdapterStack
from tui.adapters import NewAdapter, read_new_adapter
from tui.keys import Place, bindings_of
from tui.sanitize import printable_line
from tui.themes import MUTED


class AddAdapterScreen(ModalScreen[NewAdapter | None]):
    """Asks for a path until it leads to an adapter that fits, or gives None."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.ADD))

    def __init__(self, stack: AdapterStack, base: Path) -> None:
        super().__init__()
        self._stack = stack
        self._base = base

    def compose(self) -> ComposeResult:
        """Lay out the field and the line that says what is wrong."""
        with Vertical(classes="dialog", id="add") as box:
            box.border_title = "Add an adapter"
            box.border_subtitle = "Enter adds · Tab completes · Esc cancels"
            yield Static("Path of a LoRA adapter in a GGUF file", markup=False, classes="hint")
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

    def action_complete(self) -> None:
        """Take the path suggested behind the cursor."""
        self.query_one(Input).action_cursor_right()

    def action_cancel(self) -> None:
        """Add nothing."""
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
        problem = self.query_one("#problem", Static)
        problem.update(Content.styled("reading and checking…", MUTED))
        try:
            new = await asyncio.to_thread(read_new_adapter, reference, self._stack, self._base)
        except EngineError as error:
            problem.update(Content.styled(printable_line(str(error)), "$text-error"))
            return
        self.dismiss(new)


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
