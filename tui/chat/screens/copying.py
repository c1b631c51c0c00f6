"""Copying from the chat, and the key that quits if nothing is selected."""

from __future__ import annotations

import asyncio

from textual import work
from textual.screen import Screen
from textual.timer import Timer

from tui.chat.parts.clipboard import copy_with_tool
from tui.chat.prompt.prompt import Prompt
from tui.chat.session.observer import Severity
from tui.chat.session.session import ChatSession

_QUIT_WINDOW_S = 2.0
"""Time within which a second ctrl+c quits."""


class CopyingScreen(Screen[None]):
    """A screen that can copy text from its conversation and prompt."""

    session: ChatSession
    _quit_timer: Timer | None = None

    def told(self, sentence: str, severity: Severity) -> None:
        """Show a notice."""
        raise NotImplementedError

    @work(group="copy", exclusive=True)
    async def action_copy_answer(self) -> None:
        """Copy the last answer that has ended."""
        answer = self.session.conversation.last_answer
        if answer is None:
            self.told("No answer to copy yet.", "warning")
            return
        await self._copy(answer.text, "The answer")

    @work(group="copy", exclusive=True)
    async def action_copy_or_quit(self) -> None:
        """Copy the selection; without one, quit on the second press."""
        selected = self.get_selected_text() or self.query_one(Prompt).selected_text
        if selected:
            await self._copy(selected, "The selection")
            self.clear_selection()
        elif self._quit_timer is not None:
            await self.app.action_quit()
        else:
            self.told("Press ctrl+c again to quit, or ctrl+q.", "information")
            self._quit_timer = self.set_timer(_QUIT_WINDOW_S, self._forget_quit)

    async def _copy(self, text: str, what: str) -> None:
        tool = await asyncio.to_thread(copy_with_tool, text)
        if tool is None:
            self.app.copy_to_clipboard(text)
        way = f"with {tool}" if tool else "through the terminal (OSC 52), where it allows that"
        self.told(f"{what} is copied {way}.", "information")

    def _forget_quit(self) -> None:
        self._quit_timer = None
