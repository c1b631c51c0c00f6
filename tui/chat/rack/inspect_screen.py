"""The screen that shows what the adapters of the stack change, and how far they overlap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import ClassVar, TypeVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Static

from engine.adapters.inspection.inspect import Inspection
from engine.adapters.inspection.overlap import Overlap
from engine.errors import Cancelled, EngineError
from engine.protocol.adapters import Adapters
from engine.resolve.watch import Watch
from engine.stack import AdapterStack
from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.rack.inspect_content import inspection_content
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line

_Found = TypeVar("_Found")
_PROGRESS_EVERY_S = 0.1


class InspectScreen(ModalScreen[None]):
    """Shows one adapter at a time; threads compute the content, the quickest parts first.

    Args:
        stack: The adapters, whose scales are shown.
        adapters: Inspects adapters on the base.
        index: The adapter to start with.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.INSPECT))

    def __init__(self, stack: AdapterStack, adapters: Adapters, index: int) -> None:
        super().__init__()
        self._entries = stack.entries
        self._adapters = adapters
        self._index = index
        self._inspections: dict[int, Inspection] = {}
        self._problems: dict[int, str] = {}
        self._overlaps: tuple[Overlap, ...] = ()
        self._doing = ""
        self._fraction = 0.0
        """Written by the working thread, read by the timer that shows it."""
        self._timer: Timer | None = None
        self._has_ended = Event()
        self._watch = Watch(on_progress=self._take_fraction, is_cancelled=self._has_ended.is_set)
        self._names = Static("", markup=False, id="inspect-names")
        self._body = Static("", markup=False, id="inspect-body")
        self._state = Static("", markup=False, id="inspect-state")
        self._scroll = VerticalScroll(self._body, id="inspect-scroll", can_focus=False)

    def compose(self) -> ComposeResult:
        """Lay out the names, the page and the line for progress."""
        with Vertical(classes="dialog", id="inspect") as box:
            box.border_title = "Inspect"
            box.border_subtitle = "←→ adapter · ↑↓ scroll · Esc closes"
            yield self._names
            yield self._scroll
            yield self._state

    def on_mount(self) -> None:
        """Start computing."""
        self._show()
        self._timer = self.set_interval(_PROGRESS_EVERY_S, self._show_state)
        self._compute()

    def on_resize(self) -> None:
        """Lay the heat map out again."""
        self.call_after_refresh(self._show)

    def on_unmount(self) -> None:
        """Let the thread end."""
        self._has_ended.set()

    @property
    def is_complete(self) -> bool:
        """Whether all computation has ended."""
        return not self._doing and (bool(self._inspections) or bool(self._problems))

    def action_show(self, step: int) -> None:
        """Show the adapter before or after, wrapping around."""
        self._index = (self._index + step) % len(self._entries)
        self._scroll.scroll_home(animate=False)
        self._show()

    def action_scroll(self, step: int) -> None:
        """Scroll by a line."""
        self._scroll.scroll_relative(y=step, animate=False)

    def action_page(self, step: int) -> None:
        """Scroll by a page."""
        if step < 0:
            self._scroll.scroll_page_up(animate=False)
        else:
            self._scroll.scroll_page_down(animate=False)

    def action_close(self) -> None:
        """Go back to the chat."""
        self.dismiss()

    @work(exclusive=True)
    async def _compute(self) -> None:
        """Inspect all, then compare all, then read the base's weights, which may take a minute."""
        try:
            await self._compute_all()
        except Cancelled:
            return
        except EngineError as error:
            self._problems = dict.fromkeys(range(len(self._entries)), str(error))
        self._doing = ""
        if self._timer is not None:
            self._timer.stop()
        self._show()

    async def _compute_all(self) -> None:
        self._doing = "reading the adapters"
        for index in range(len(self._entries)):
            await self._try(
                index, partial(self._adapters.inspect, self._entries[index].adapter, self._watch)
            )
        known = list(self._inspections.values())
        if len(known) > 1:
            self._overlaps = await self._run(
                "comparing the adapters",
                lambda: self._adapters.compare(known, self._watch),
            )
            self._show()
        waiting = set(self._inspections)
        while waiting:
            # The adapter on display comes first.
            index = self._index if self._index in waiting else min(waiting)
            waiting.discard(index)
            await self._try(
                index, partial(self._adapters.relate, self._inspections[index], self._watch)
            )

    async def _try(self, index: int, make: Callable[[], Inspection]) -> None:
        doing = "reading the base's weights" if index in self._inspections else self._doing
        try:
            self._inspections[index] = await self._run(doing, make)
        except EngineError as error:
            self._problems[index] = str(error)
        self._show()

    async def _run(self, doing: str, make: Callable[[], _Found]) -> _Found:
        self._doing, self._fraction = doing, 0.0
        return await asyncio.to_thread(make)

    def _take_fraction(self, fraction: float) -> None:
        self._fraction = fraction

    def _show(self) -> None:
        self._names.update(self._names_content())
        self._body.update(self._body_content())
        self._show_state()

    def _show_state(self) -> None:
        text = f"{self._doing} {self._fraction:.0%}" if self._doing else ""
        self._state.update(text)

    def _names_content(self) -> Content:
        """Return the names, dropping the first ones if the one on display would not be visible."""
        names = [f" {printable_line(entry.adapter.name)} " for entry in self._entries]
        first = 0
        room = self._names.size.width
        while first < self._index and sum(map(len, names[first : self._index + 1])) > room:
            first += 1
        parts = [
            Content.styled(name, "bold $background on $primary" if index == self._index else MUTED)
            for index, name in enumerate(names)
        ]
        return Content("").join(parts[first:])

    def _body_content(self) -> Content:
        entry = self._entries[self._index]
        parts = []
        if (problem := self._problems.get(self._index)) is not None:
            parts.append(Content.styled(printable_line(problem), "$text-error"))
        if (inspection := self._inspections.get(self._index)) is not None:
            width = max(30, self._scroll.scrollable_content_region.width)
            page = inspection_content(inspection, entry.scale, self._overlaps, width)
            parts.append(page)
        return Content("\n\n").join(parts)
