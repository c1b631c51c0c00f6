"""The dialog that adds an adapter by its path or name, and pulls or converts it if necessary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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

from engine.errors import Cancelled, EngineError
from engine.protocol.adapters import Adapters
from engine.resolve.adapter import NewAdapter
from engine.resolve.watch import Watch
from engine.stack import AdapterStack
from modelfiles.errors import ModelfilesError
from tui.chat.hub.transfer import Transfer
from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.parts.background import in_background
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line

_REFRESH_S = 0.1


class AddAdapterScreen(ModalScreen[NewAdapter | None]):
    """Asks until the input leads to an adapter that fits; returns it, or None if cancelled.

    Args:
        adapters: Finds adapters for the base.
        stack: Returns the adapters in the rack.
        home: Folder of the records of pulled adapters and of converted ones.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.ADD))

    def __init__(self, adapters: Adapters, stack: Callable[[], AdapterStack], home: Path) -> None:
        super().__init__()
        self._adapters = adapters
        self._stack = stack
        self._home = home
        self._transfer: Transfer | None = None
        """The current download, or None."""
        self._fraction: float | None = None
        """Fraction of the current conversion that is done, or None."""
        self._stop = Event()
        """Set when the result of the current work is no longer wanted."""

    def compose(self) -> ComposeResult:
        """Lay out the field and the line for problems and progress."""
        with Vertical(classes="dialog", id="add") as box:
            box.border_title = "Add an adapter"
            box.border_subtitle = "Enter adds · Tab completes · Esc cancels"
            yield Static(
                "Path of a LoRA adapter: a GGUF file, or the folder of a PEFT or MLX adapter, "
                "which is converted for this model. Or hf.co/user/repo[:file], which is pulled, or "
                "the name of a pulled one.",
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
        """Focus the field and start showing progress."""
        self.query_one(Input).focus()
        self.set_interval(_REFRESH_S, self._show_progress)

    def action_complete(self) -> None:
        """Accept the path suggested behind the cursor."""
        self.query_one(Input).action_cursor_right()

    def action_cancel(self) -> None:
        """Add nothing; a running conversion ends after its current pair."""
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
        self._fraction, self._transfer = None, None
        problem = self.query_one("#problem", Static)
        problem.update(Content.styled("reading and checking…", MUTED))
        watch = self._watch(stop)
        try:
            new = await in_background(
                lambda: self._adapters.find(reference, self._stack, self._home, watch)
            )
        except (EngineError, ModelfilesError) as error:
            self._fraction, self._transfer = None, None
            problem.update(Content.styled(printable_line(str(error)), "$text-error"))
            return
        except Cancelled:
            return
        self.dismiss(new)

    def _watch(self, stop: Event) -> Watch:
        """Return callbacks that record the progress of a thread until `stop` is set."""
        transfer = Transfer(time.monotonic())

        def took(done_bytes: int, total_bytes: int) -> None:
            transfer.took(done_bytes, total_bytes)
            if not stop.is_set():
                self._transfer = transfer

        def progressed(fraction: float) -> None:
            if not stop.is_set():
                self._fraction = fraction

        return Watch(took, progressed, stop.is_set)

    def _show_progress(self) -> None:
        problem = self.query_one("#problem", Static)
        if self._fraction is not None:
            problem.update(Content.styled(f"converting… {self._fraction:.0%}", MUTED))
        elif self._transfer is not None:
            problem.update(self._transfer.content(time.monotonic(), problem.content_size.width))


class PathSuggester(Suggester):
    """Suggests folders and GGUF files that begin with what was typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Return the first match, or None."""
        return await asyncio.to_thread(suggested_path, value)


def suggested_path(typed: str) -> str | None:
    """Return `typed` completed to the alphabetically first folder or GGUF file."""
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
