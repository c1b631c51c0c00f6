"""The list of models to choose from."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from modelfiles.errors import ModelfilesError
from modelfiles.model import Model
from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line
from tui.text.units import age_text, size_text

if TYPE_CHECKING:
    from modelfiles.library import Library, ListedModel

_ORIGINS = {"package": "bundled", "ollama": "Ollama"}
"""Shown in place of the age of a model that was not created here."""


class ModelsScreen(ModalScreen[Model | None]):
    """Returns the chosen model, resolved, or None."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.PICKER))

    def __init__(self, library: Library, current: str = "") -> None:
        super().__init__()
        self._library = library
        self._current = current

    def compose(self) -> ComposeResult:
        """Lay out the list and the line for problems."""
        with Vertical(classes="dialog", id="models") as box:
            box.border_title = "Models"
            box.border_subtitle = "Enter opens · Esc goes back"
            yield OptionList(markup=False, compact=True, id="model-list")
            yield Static("", markup=False, id="problem")

    def on_mount(self) -> None:
        """Read the list in the background."""
        self.query_one("#problem").display = False
        self.query_one(OptionList).focus()
        self._fill()

    def action_cancel(self) -> None:
        """Choose nothing."""
        self.dismiss(None)

    @work(exclusive=True)
    async def _fill(self) -> None:
        try:
            models = await asyncio.to_thread(self._library.list)
        except ModelfilesError as error:
            self._say(str(error))
            return
        now = datetime.now(UTC)
        choices = self.query_one(OptionList)
        width = max((len(model.name) for model in models), default=0)
        for model in models:
            choices.add_option(Option(_line(model, width, now), id=model.name))
        names = [model.name for model in models]
        if names:
            choices.highlighted = names.index(self._current) if self._current in names else 0
        else:
            self._say("There is no model yet: tui create NAME -f MODELFILE makes one.")

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None:
            self._resolve(event.option_id)

    @work(exclusive=True)
    async def _resolve(self, name: str) -> None:
        try:
            model = await asyncio.to_thread(self._library.get, name)
        except ModelfilesError as error:
            self._say(str(error))
            return
        self.dismiss(model)

    def _say(self, sentence: str) -> None:
        problem = self.query_one("#problem", Static)
        problem.update(Content.styled(printable_line(sentence), "$text-error"))
        problem.display = True


def _line(model: ListedModel, width: int, now: datetime) -> Content:
    adapters = "1 adapter" if model.n_adapters == 1 else f"{model.n_adapters} adapters"
    origin = _ORIGINS.get(model.origin) or age_text(model.modified, now)
    if model.problem is not None:
        name = Content.styled(f"{printable_line(model.name):<{width}}", "bold")
        return name + Content.styled(f"  {printable_line(model.problem)}", "$text-error")
    facts = f"{size_text(model.size_bytes):>8}  {adapters:<11}  {origin}"
    return Content.assemble(
        Content.styled(f"{printable_line(model.name):<{width}}", "bold"),
        Content.styled(f"  {facts}", MUTED),
    )
