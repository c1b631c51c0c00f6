"""The screen that finds adapters on the Hugging Face Hub: a search field, a list and its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Static

from engine.hub.search.base_names import BaseIdentity
from engine.hub.search.search import Sort
from engine.protocol.adapters import Adapters
from engine.resolve.adapter import NewAdapter
from engine.stack import AdapterStack
from tui.chat.hub.columns import head_content
from tui.chat.hub.listing import ORDERS, Listing, normal_words
from tui.chat.hub.rows import HubRows
from tui.chat.hub.search import HubSearch, Question
from tui.chat.hub.status import Status, state_content, told_content
from tui.chat.hub.words import HubWords

_FRAME_S = 1 / 30
"""Interval at which new rows are shown, so that the first appear within a frame."""
TYPING_PAUSE_S = 0.35
"""Pause after the last letter before the Hub is asked again."""
_WIDE = 84
"""Width of the dialog in cells from which its border names every key."""


@dataclass(slots=True)
class HubVisit:
    """State that the next visit continues with: the words, the scope and the results."""

    base: BaseIdentity | None = None
    """The base that `listing` is for."""
    words: str = ""
    is_everything: bool = False
    """Whether adapters for any base are searched for."""
    order: Sort = "downloads"
    listing: Listing = field(default_factory=Listing)


class HubScreen(ModalScreen[NewAdapter | None]):
    """Returns an adapter that was pulled, or None.

    Args:
        base: The base that adapters are for.
        adapters: Judges, pulls and converts adapters for it.
        stack: Returns the adapters in the rack.
        home: Folder of the records of pulled adapters and of converted ones.
        visit: State of the last visit, which this one continues.
    """

    def __init__(
        self,
        base: BaseIdentity,
        adapters: Adapters,
        stack: Callable[[], AdapterStack],
        home: Path,
        visit: HubVisit,
    ) -> None:
        super().__init__()
        self._base = base
        self._adapters = adapters
        self._stack = stack
        self._home = home
        self._visit = visit
        if visit.base != base:
            visit.base, visit.is_everything, visit.listing = base, False, Listing()
        self._search: HubSearch | None = None
        self._error = ""
        self._frames: Timer | None = None
        self._pause: Timer | None = None
        self._words = HubWords(
            visit.words, placeholder="words in the name, such as sql", compact=True, id="hub-words"
        )
        self._state = Static("", markup=False, id="hub-state")
        self._head = Static("", markup=False, id="hub-head")
        self._rows = HubRows(id="hub-rows")
        self._told = Static("", markup=False, id="hub-told")

    def compose(self) -> ComposeResult:
        """Lay out the field, the line on the search, the list, and the line for messages."""
        with Vertical(classes="dialog", id="hub") as box:
            box.border_title = "Adapters on the Hugging Face Hub"
            yield self._words
            yield self._state
            yield self._head
            yield self._rows
            yield self._told

    def on_mount(self) -> None:
        """Show the results of the last visit, and search."""
        self._words.focus()
        self._frames = self.set_interval(_FRAME_S, self._take, pause=True)
        self._ask()

    def on_unmount(self) -> None:
        """Give up the search."""
        if self._search is not None:
            self._search.give_up()

    def on_resize(self) -> None:
        """Lay out again what depends on the width."""
        self.call_after_refresh(self._show_rows)

    @property
    def is_searching(self) -> bool:
        """Whether rows may still arrive."""
        return self._search is not None

    def _ask(self) -> None:
        """Ask the Hub; later results of an older question are ignored."""
        if self._search is not None:
            self._search.give_up()
        if self._pause is not None:
            self._pause.stop()
        base = None if self._is_everything else self._base
        self._search = HubSearch(Question(self._wanted, base, self._visit.order))
        self._error = ""
        if self._frames is not None:
            self._frames.resume()
        self._show_rows()

    def _take(self) -> None:
        """Show the rows that have arrived since the last frame."""
        search = self._search
        if search is None:
            return
        is_over = search.is_over  # read first: rows that arrive after it are taken next time
        if found := search.take():
            self._visit.listing.add(found, search.question.words)
        if is_over:
            self._error, self._search = search.error, None
            if self._frames is not None:
                self._frames.pause()
        if found or is_over:
            self._show_rows()

    @property
    def _wanted(self) -> str:
        return normal_words(self._words.value)

    @property
    def _is_everything(self) -> bool:
        """Whether any base is searched for, also because this one has no name on the Hub."""
        return self._visit.is_everything or not self._base.repositories

    # Actions of the user --------------------------------------------------------------------

    @on(HubWords.Changed)
    def _typed(self) -> None:
        if self._words.value == self._visit.words:
            return
        self._visit.words = self._words.value
        self._show_rows()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(TYPING_PAUSE_S, self._ask)

    @on(HubWords.Wished)
    def _wished(self, event: HubWords.Wished) -> None:
        match event.wish:
            case "up" | "down":
                self._rows.move(1 if event.wish == "down" else -1)
            case "page_up" | "page_down":
                self._rows.move_page(1 if event.wish == "page_down" else -1)
            case "first" | "last":
                self._rows.select_end(is_last=event.wish == "last")
            case "scope":
                self._change_scope()
            case "order":
                self._visit.order = ORDERS[(ORDERS.index(self._visit.order) + 1) % len(ORDERS)]
                self._ask()
            case "again":
                self._ask()
            case "close":
                self.dismiss(None)

    def _change_scope(self) -> None:
        if self._base.repositories:
            self._visit.is_everything = not self._visit.is_everything
            self._visit.listing.clear()
            self._ask()

    @on(HubWords.Submitted)
    @on(HubRows.Chosen)
    def _open(self) -> None:
        # Imported on demand: judging an adapter imports numpy.
        from tui.chat.hub.adapter_screen import HubAdapterScreen

        repository = self._rows.selected
        if repository is None:
            self._ask()
        else:
            screen = HubAdapterScreen(
                repository, self._base.name, self._adapters, self._stack, self._home
            )
            self.app.push_screen(screen, self._looked)

    def _looked(self, new: NewAdapter | None) -> None:
        if new is not None:
            self.dismiss(new)

    # Display --------------------------------------------------------------------------------

    def _show_rows(self) -> None:
        if not self.is_mounted:
            return
        visit = self._visit
        self._rows.show(visit.listing.rows(self._wanted, visit.order))
        has_rows = bool(self._rows.rows)
        if has_rows and not self._rows.display:
            self.call_after_refresh(self._show_rows)  # a hidden widget has no width yet
        self._head.update(
            head_content(max(1, self._rows.scrollable_content_region.width), visit.order)
        )
        self._head.display = self._rows.display = has_rows
        self._state.update(state_content(self._status))
        told = told_content(self._status)
        self._told.update(told)
        self._told.display = bool(told.plain)
        self._told.set_class(not has_rows, "-alone")
        box = self.query_one("#hub")
        wide = " · ctrl+r again" if box.size.width >= _WIDE else ""
        scope = " · ctrl+e this base" if visit.is_everything else " · ctrl+e any base"
        if not self._base.repositories:
            scope = ""
        box.border_subtitle = f"Enter opens{scope} · ctrl+o order{wide} · Esc closes"

    @property
    def _status(self) -> Status:
        return Status(
            identity=self._base,
            words=self._words.value,
            is_everything=self._is_everything,
            order=self._visit.order,
            n_rows=len(self._rows.rows),
            is_searching=self._search is not None,
            error=self._error,
        )
