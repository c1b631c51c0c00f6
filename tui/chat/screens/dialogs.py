"""Open the screens that add adapters to the rack or inspect them, over the chat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.screen import Screen

from engine.hub.search.base_names import BaseIdentity
from engine.protocol.adapters import Adapters
from engine.resolve.adapter import NewAdapter
from modelfiles.state.home import state_home
from tui.chat.rack.add_screen import AddAdapterScreen
from tui.chat.session.engine_limits import NO_INSPECTION, why_not_added
from tui.chat.session.meter import Phase
from tui.chat.session.observer import NO_MODEL, Severity
from tui.chat.session.session import ChatSession

if TYPE_CHECKING:
    from tui.chat.hub.search_screen import HubVisit


class RackScreens:
    """Opens the screens for the loaded model, and adds their results to the mix.

    Args:
        chat: The screen that they are opened over.
        session: The session whose mix gets the results.
        home: Folder of all state; None for the user's own.
        tell: Shows a notice.
        apply: Makes the engine use the displayed mix.
    """

    def __init__(
        self,
        chat: Screen[None],
        session: ChatSession,
        home: Path | None,
        tell: Callable[[str, Severity], None],
        apply: Callable[[], object],
    ) -> None:
        self._chat = chat
        self._session = session
        self._home = home
        self._tell = tell
        self._apply = apply
        self._visit: HubVisit | None = None

    def add(self) -> None:
        """Ask for an adapter by its path or name."""
        if (adapters := self._adapters_to_add()) is not None:
            screen = AddAdapterScreen(adapters, lambda: self._session.mix.stack, self._state_home())
            self._chat.app.push_screen(screen, self._added)

    def find(self, words: str = "") -> None:
        """Find an adapter on the Hub; without words, continue the last visit."""
        adapters, base = self._adapters_to_add(), self._session.base
        if adapters is None or base is None:
            return
        # Imported on demand: most chats never need it.
        from tui.chat.hub.search_screen import HubScreen, HubVisit

        visit = self._visit = self._visit or HubVisit()
        visit.words = words or visit.words
        identity = BaseIdentity(base.facts.name, base.repositories)
        session = self._session
        screen = HubScreen(identity, adapters, lambda: session.mix.stack, self._state_home(), visit)
        self._chat.app.push_screen(screen, self._added)

    def inspect(self, index: int) -> None:
        """Show what the adapters change, starting with the one at `index`."""
        # Imported on demand: the screen imports numpy.
        from tui.chat.rack.inspect_screen import InspectScreen

        engine, model = self._session.engine, self._session.model
        if not engine.capabilities.can_inspect:
            self._tell(NO_INSPECTION, "warning")
        elif model is not None:
            stack = self._session.mix.stack
            self._chat.app.push_screen(InspectScreen(stack, engine.adapters(model), index))

    def _added(self, new: NewAdapter | None) -> None:
        if new is None:
            return
        if new.conversion:
            self._tell(new.conversion, "information")
        for notice in new.notices:
            self._tell(notice, "warning")
        mix = self._session.mix
        if self._session.change_mix(mix.with_inserted(len(mix.stack), new.entry)):
            self._apply()

    def _adapters_to_add(self) -> Adapters | None:
        """Return what finds adapters for the loaded model, or None, with a notice, if none can."""
        engine, model = self._session.engine, self._session.model
        match self._session.phase:
            case Phase.EMPTY:
                self._tell(NO_MODEL, "warning")
            case Phase.LOADING:
                # An adapter added now would be lost: the model brings its own stack.
                self._tell("Adapters can be added once the model is loaded.", "warning")
            case _:
                why_not = why_not_added(engine.capabilities, self._session.mix.in_force)
                if model is not None and not why_not:
                    return engine.adapters(model)
                self._tell(why_not, "warning")
        return None

    def _state_home(self) -> Path:
        return self._home or state_home()
