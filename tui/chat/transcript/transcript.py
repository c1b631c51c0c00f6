"""The conversation on the screen: a window of mounted messages that follows the latest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from tui.chat.transcript.message import MessageView, message_view
from tui.conversation import Answer, AnswerState, Entry

WINDOW = 30
"""Most messages mounted at once; with 75 a change of focus took 80 ms."""
_STEP = 15
"""Messages mounted at once when scrolling past an end of the window."""
_NEAR_ROWS = 2
"""Scrolling down to within this many rows of the end follows it again: a wheel rarely stops on the
last row while the text below still grows."""

_LAYOUT_REFRESHES, _STILL_REFRESHES = 40, 3
"""Most refreshes to wait for a layout, and the number without a change that end the wait."""


class ConversationView(VerticalScroll, can_focus=False):
    """Shows the last messages; older ones are mounted when scrolling to the top."""

    BLANK: ClassVar[bool] = True

    is_following: reactive[bool] = reactive(True)
    """Whether the view stays at the latest line while it grows."""

    @dataclass
    class FollowingChanged(Message):
        """The view has started or stopped following the latest line."""

        is_following: bool

    def __init__(self, entries: Sequence[Entry], *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._entries = entries
        self._start = self._end = len(entries)
        self.is_moving = False
        self._welcome = Static("", markup=False, id="welcome")

    def compose(self) -> ComposeResult:
        """Lay out the line shown while there are no messages."""
        yield self._welcome

    def on_mount(self) -> None:
        """Follow the end from the start."""
        self.anchor()

    @property
    def views(self) -> list[MessageView]:
        """The mounted messages, oldest first."""
        return [c for c in self.children if isinstance(c, MessageView)]

    def view_of(self, entry: Entry) -> MessageView | None:
        """Return the widget of a message, or None if it is not mounted."""
        return next((view for view in reversed(self.views) if view.entry.id == entry.id), None)

    async def show_all(self, entries: Sequence[Entry], welcome: str) -> None:
        """Show another conversation, starting at its end."""
        self._entries = entries
        self._welcome.update(welcome)
        await self._show_latest()

    async def add(self, entry: Entry) -> None:
        """Show a message added at the end, and follow it."""
        if self.view_of(entry) is None:
            self._welcome.display = False
            index = next((i for i, e in enumerate(self._entries) if e.id == entry.id), -1)
            if index == self._end:
                self._end += 1
                await self.mount(message_view(entry))
                await self._drop_from_start()
            elif index > self._end:
                await self._show_latest()
        self.follow()

    async def remove_entry(self, entry: Entry) -> None:
        """Remove a message that was taken off the end of the conversation."""
        self._end = min(self._end, len(self._entries))
        self._start = min(self._start, self._end)
        view = self.view_of(entry)
        if view is not None:
            await view.remove()

    def follow(self) -> None:
        """Stay at the latest line from now on."""
        self.is_following = True
        self.anchor()

    async def go_to_latest(self) -> None:
        """Show the end of the conversation and follow it."""
        if self._end < len(self._entries):
            await self._show_latest()
        self.follow()

    async def go_to_first(self) -> None:
        """Show the start of the conversation."""
        self.release_anchor()
        if self._start > 0 and not self._is_writing:
            await self._remount(0, min(WINDOW, len(self._entries)))
        elif self._start > 0:
            await self._mount_older(self._start)
        self.scroll_home(animate=False)

    def release_anchor(self) -> None:
        """Stop following the end, because the user has scrolled."""
        super().release_anchor()
        self.is_following = False
        self.call_after_refresh(self._follow_if_near)

    def watch_is_following(self, is_following: bool) -> None:
        """Notify the screen, which shows a hint."""
        self.post_message(self.FollowingChanged(is_following))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Mount more messages when an end of the window comes into sight."""
        super().watch_scroll_y(old_value, new_value)
        if self.is_following or self.is_moving:
            return
        if new_value > old_value:
            self._follow_if_near()
            if new_value >= self.max_scroll_y - _NEAR_ROWS and self._end < len(self._entries):
                self.is_moving = True
                self.call_later(self._mount_newer)
        elif new_value <= 0 and self._start > 0:
            self.is_moving = True
            self.call_later(self._mount_older, _STEP)

    @property
    def _is_writing(self) -> bool:
        # A note may stand after the answer that is being written.
        last = next((e for e in reversed(self._entries) if isinstance(e, Answer)), None)
        return last is not None and last.state is AnswerState.WRITING

    def _follow_if_near(self) -> None:
        is_at_end = self.scroll_y >= self.max_scroll_y - (_NEAR_ROWS if self._is_writing else 0)
        if not self.is_following and self._end == len(self._entries) and is_at_end:
            self.follow()

    async def _show_latest(self) -> None:
        await self._remount(max(0, len(self._entries) - WINDOW), len(self._entries))
        self._welcome.display = not self._entries
        self.follow()

    async def _remount(self, start: int, end: int) -> None:
        with self.app.batch_update():
            await self.remove_children(self.views)
            self._start, self._end = start, end
            await self.mount_all([message_view(entry) for entry in self._entries[start:end]])

    async def _mount_older(self, count: int) -> None:
        start = max(0, self._start - count)
        older = [message_view(entry) for entry in self._entries[start : self._start]]
        pivot = self.views[0] if self.views else None
        before = pivot.virtual_region.y if pivot is not None else 0
        self._start = start
        await self.mount_all(older, after=self._welcome)
        await self._drop_from_end()
        self._keep_in_place(pivot, before)

    async def _mount_newer(self) -> None:
        end = min(len(self._entries), self._end + _STEP)
        newer = [message_view(entry) for entry in self._entries[self._end : end]]
        pivot = self.views[-1] if self.views else None
        before = pivot.virtual_region.y if pivot is not None else 0
        self._end = end
        await self.mount_all(newer)
        is_shifted = await self._drop_from_start()
        self._keep_in_place(pivot if is_shifted else None, before)

    def _keep_in_place(self, pivot: MessageView | None, before: float) -> None:
        """Scroll so that a view stays in its place on the screen while others are laid out.

        `before` is the row it had. The layout comes some refreshes after the mount, and in steps: a
        message is mounted before its blocks are.
        """
        at, n_still, n_left = before, 0, _LAYOUT_REFRESHES

        def pin() -> None:
            nonlocal at, n_still, n_left
            n_left -= 1
            if pivot is None or not pivot.is_attached or not n_left or n_still == _STILL_REFRESHES:
                self.is_moving = False
                return
            shift = pivot.virtual_region.y - at
            if shift:
                at, n_still = pivot.virtual_region.y, 0
                self.scroll_to(y=self.scroll_y + shift, animate=False, immediate=True)
            elif at != before:
                n_still += 1
            self.call_after_refresh(pin)

        pin()

    async def _drop_from_start(self) -> bool:
        beyond = self.views[: max(0, len(self.views) - WINDOW)]
        self._start += len(beyond)
        await self.remove_children(beyond)
        return bool(beyond)

    async def _drop_from_end(self) -> None:
        """Unmount messages below the window, but none while an answer is being written."""
        if self._is_writing:
            return
        beyond = self.views[WINDOW:]
        self._end -= len(beyond)
        await self.remove_children(beyond)
