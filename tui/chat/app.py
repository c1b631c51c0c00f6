"""The Textual application: its themes, start and end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.screen import Screen

from engine.protocol.engine import Engine
from modelfiles.model import Model
from modelfiles.state.home import state_home
from tui.chat.screens.chat import ChatScreen
from tui.chat.themes import DARK, LIGHT, theme_for
from tui.local_engine import new_engine
from tui.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from modelfiles.library import Library
    from modelfiles.store.created import ModelStore

_WIDTHS = [(0, "-narrow"), (76, "-medium"), (108, "-wide")]
_HEIGHTS = [(0, "-short"), (22, "-tall")]


class ChatApp(App[int]):
    """A chat with one engine; without a model it opens with the list of models.

    Args:
        settings: Settings passed on to the engine and the chat.
        home: Folder of the settings file and of the engine's cache; None for neither.
        warning: Warning to show at the start; empty for none.
        notes: Other messages to show at the start.
    """

    TITLE = "lora-tui"
    CSS_PATH = "app.tcss"
    PAUSE_GC_ON_SCROLL: ClassVar[bool] = True
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        engine: Engine,
        model: Model | None,
        *,
        settings: Settings = Settings(),  # noqa: B008  # immutable
        home: Path | None = None,
        warning: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        # Minimum width or height in cells and the screen class it sets, for app.tcss.
        self.HORIZONTAL_BREAKPOINTS = _WIDTHS
        self.VERTICAL_BREAKPOINTS = _HEIGHTS
        self.engine = engine
        self.chat = ChatScreen(
            engine,
            model,
            read_library,
            open_store,
            settings=settings,
            home=home,
            warning=warning,
        )
        self._notes = notes
        self._has_model = model is not None
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = theme_for(os.environ).name

    def on_mount(self) -> None:
        """Show the chat."""
        self.push_screen(self.chat)
        for note in self._notes:
            self.call_after_refresh(self.chat.told, note, "information")
        if not self._has_model:
            self.call_after_refresh(self.chat.action_models)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer the commands that have no key of their own."""
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Screenshot", "Save the screen as SVG", self.deliver_screenshot)

    async def on_unmount(self) -> None:
        """End the engine with the application."""
        await self.chat.session.close()
        await self.engine.close()


def read_library() -> Library:
    """Return the models of this machine."""
    from modelfiles.library import open_library

    return open_library()


def open_store() -> ModelStore:
    """Return the store that chats are saved to as models."""
    from modelfiles.store.created import ModelStore

    return ModelStore(state_home(os.environ))


def run_chat(model: Model, notes: Sequence[str] = ()) -> int:
    """Chat with a model until the user quits, showing `notes` first; return the exit code."""
    return app_of_this_machine(model, notes).run() or 0


def run_picker() -> int:
    """Let the user choose a model, then chat with it; return the exit code."""
    return app_of_this_machine(None).run() or 0


def app_of_this_machine(model: Model | None, notes: Sequence[str] = ()) -> ChatApp:
    """Return the application with the settings of this machine.

    A wrong settings file causes a warning and does not stop the chat: settings decide speed and
    memory, and the chat can change every one that matters.
    """
    home = state_home(os.environ)
    try:
        settings, warning = read_settings(home), ""
    except SettingsError as error:
        settings, warning = Settings(), f"The settings are the default ones. {error}"
    return ChatApp(new_engine(), model, settings=settings, home=home, warning=warning, notes=notes)
