"""The adapter rack: the stack as rows that are switched, scaled, added and removed by one key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from engine.stack import StackEntry
from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.parts.own_keys import run_own_key
from tui.chat.rack.details import details_content, total_content
from tui.chat.rack.row import RackRow
from tui.chat.rack.scale_input import ScaleInput
from tui.chat.session.mix import Mix
from tui.chat.session.stack_facts import StackState

EMPTY_TEXT = "No adapters yet.\nPress + to add one by its path,\n/ to find one on the Hub."


class Rack(Vertical, can_focus=True):
    """Shows a `Mix` and posts the changes that the user wants; it makes none itself."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.RACK))

    selected: reactive[int] = reactive(0)

    @dataclass
    class ChangeWanted(Message):
        """The user wants another mix, which `change` makes of the current one.

        A function instead of a mix, so that no key is lost if keys come faster than they are drawn.
        """

        change: Callable[[Mix], Mix]

    class AddWanted(Message):
        """The user wants to add an adapter."""

    class HubWanted(Message):
        """The user wants to find adapters on the Hub."""

    @dataclass
    class InspectWanted(Message):
        """The user wants to see what the adapters change, starting with the one at `index`."""

        index: int

    class LiveWanted(Message):
        """The user wants to switch whether changes apply in the middle of an answer."""

    class HelpWanted(Message):
        """The user wants to see the keys."""

    class Left(Message):
        """The user wants to go back to the prompt."""

    @dataclass
    class Told(Message):
        """A sentence for the user."""

        sentence: str
        is_warning: bool = False

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.mix = Mix()
        self.state = StackState()
        self._removed: tuple[int, StackEntry] | None = None
        self._title = Static("adapters", markup=False, id="rack-title")
        self._empty = Static(EMPTY_TEXT, markup=False, id="rack-empty")
        self._rows = VerticalScroll(id="rack-rows", can_focus=False)
        self._details = Static("", markup=False, id="rack-details")
        self._total = Static("", markup=False, id="rack-total")

    def compose(self) -> ComposeResult:
        """Lay out the title, the rows and the details of the selected one."""
        yield self._title
        yield self._empty
        yield self._rows
        yield self._details
        yield self._total

    def on_mount(self) -> None:
        """Show the empty stack."""
        self._refresh_rows()

    @property
    def rows(self) -> list[RackRow]:
        """The rows, top first."""
        return list(self._rows.query(RackRow))

    async def show(self, mix: Mix, state: StackState) -> None:
        """Show another mix; the same adapter stays selected if it is still there."""
        self.state = state
        old_names = [entry.adapter.name for entry in self.mix.stack]
        names = [entry.adapter.name for entry in mix.stack]
        kept = old_names[self.selected] if self.selected < len(old_names) else None
        self.mix = mix
        if len(names) > len(old_names) and names[:-1] == old_names:
            self.selected = len(names) - 1 if old_names else 0
        elif kept in names:
            self.selected = names.index(kept)
        else:
            self.selected = max(0, min(self.selected, len(names) - 1))
        if names != [row.entry.adapter.name for row in self.rows]:
            await self._rows.remove_children()
            await self._rows.mount_all(RackRow(i, entry) for i, entry in enumerate(mix.stack))
        self._refresh_rows()

    def tell(self, state: StackState) -> None:
        """Show what is known of the stack."""
        self.state = state
        self._refresh_rows()

    def watch_selected(self) -> None:
        """Move the highlight."""
        self._refresh_rows()

    def action_toggle_nth(self, number: int) -> None:
        """Switch adapter `number` (1 is the first) on or off."""
        if number > len(self.mix.stack):
            self.post_message(self.Told(f"There is no adapter {number}.", is_warning=True))
            return
        self.selected = number - 1
        self.action_switch()

    def action_switch(self) -> None:
        """Switch the selected adapter on or off."""
        if (name := self._selected_name()) is not None:
            self._want(lambda mix: mix.toggled(name))

    def action_select(self, step: int) -> None:
        """Select the adapter above or below."""
        if len(self.mix.stack):
            self.selected = max(0, min(len(self.mix.stack) - 1, self.selected + step))

    def action_rescale(self, step: float) -> None:
        """Move the scale of the selected adapter."""
        if (name := self._selected_name()) is not None:
            self._want(lambda mix: mix.rescaled(name, step))

    def action_set_scale(self, scale: float) -> None:
        """Set the scale of the selected adapter."""
        if (name := self._selected_name()) is not None:
            self._want(lambda mix: mix.with_scale(name, scale))

    def action_type_scale(self) -> None:
        """Open the field for a scale below the selected row."""
        if self._selected_name() is not None and not self.query(ScaleInput):
            entry = self.mix.stack.entries[self.selected]
            field = ScaleInput(entry.adapter.name, entry.scale)
            self._rows.mount(field, after=self.rows[self.selected])
            # At once, not with the field's deferred `focus`: a digit would switch an adapter.
            self.screen.set_focus(field)

    def action_add(self) -> None:
        """Ask for an adapter."""
        self.post_message(self.AddWanted())

    def action_hub(self) -> None:
        """Ask for the search of the Hub."""
        self.post_message(self.HubWanted())

    def action_inspect(self) -> None:
        """Ask for the inspection of the adapters."""
        if self._selected_name() is not None:
            self.post_message(self.InspectWanted(self.selected))

    def action_remove(self) -> None:
        """Remove the selected adapter."""
        if (name := self._selected_name()) is not None:
            entry = self.mix.stack.entries[self.selected]
            self._removed = (self.selected, entry)
            self._want(lambda mix: mix.without(name))
            self.post_message(self.Told(f"{entry.adapter.name} is removed: u brings it back."))

    def action_undo(self) -> None:
        """Restore the removed adapter with its scale."""
        if self._removed is None:
            self.post_message(self.Told("No adapter was removed.", is_warning=True))
            return
        index, entry = self._removed
        self._removed = None
        self._want(lambda mix: mix.with_inserted(index, entry))

    def action_toggle_live(self) -> None:
        """Ask to switch whether changes apply in the middle of an answer."""
        self.post_message(self.LiveWanted())

    def action_help(self) -> None:
        """Ask for the keys."""
        self.post_message(self.HelpWanted())

    def action_leave(self) -> None:
        """Go back to the prompt."""
        self.post_message(self.Left())

    async def on_key(self, event: events.Key) -> None:
        """Handle the rack's own keys."""
        await run_own_key(self, event, Place.RACK)

    def on_focus(self) -> None:
        """Show which row the keys act on."""
        self._refresh_rows()

    def on_blur(self) -> None:
        """Show that the keys act elsewhere."""
        self._refresh_rows()

    @on(RackRow.Clicked)
    def _clicked(self, event: RackRow.Clicked) -> None:
        event.stop()
        self.focus()
        self.selected = event.index
        if event.is_mark:
            self.action_switch()

    @on(ScaleInput.Typed)
    def _typed(self, event: ScaleInput.Typed) -> None:
        event.stop()
        name, scale = event.adapter_name, event.scale
        self._want(lambda mix: mix.with_scale(name, scale))
        self.focus()

    @on(ScaleInput.Refused)
    def _refused(self, event: ScaleInput.Refused) -> None:
        event.stop()
        self.post_message(self.Told(event.sentence, is_warning=True))

    @on(ScaleInput.Cancelled)
    def _cancelled(self, event: ScaleInput.Cancelled) -> None:
        event.stop()
        self.focus()

    def _selected_name(self) -> str | None:
        if not len(self.mix.stack):
            self.post_message(self.Told("The rack is empty: + adds an adapter.", is_warning=True))
            return None
        return self.mix.stack.entries[self.selected].adapter.name

    def _want(self, change: Callable[[Mix], Mix]) -> None:
        self.post_message(self.ChangeWanted(change))

    def _refresh_rows(self) -> None:
        if not self.is_mounted:
            return
        mix = self.mix
        self.set_class(mix.is_bypassed, "-bypassed")
        marks = [" · live" * self.state.is_live, " · bypassed (ctrl+b)" * mix.is_bypassed]
        self._title.update("adapters" + "".join(marks))
        self._empty.display = not len(mix.stack)
        for index, (row, entry) in enumerate(zip(self.rows, mix.stack, strict=False)):
            is_selected = index == self.selected
            row.show(entry, is_selected=is_selected, is_bypassed=mix.is_bypassed)
            if is_selected and self.has_focus:
                row.scroll_visible(animate=False)
        chosen = mix.stack.entries[self.selected] if self.selected < len(mix.stack) else None
        self._details.update(
            ""
            if chosen is None
            else details_content(chosen.adapter, self.state.adapters.get(chosen.adapter.sha256))
        )
        self._total.update(total_content(mix, self.state))
