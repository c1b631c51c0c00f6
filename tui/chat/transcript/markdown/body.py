"""The text of an answer on the screen: settled blocks, and one live tail while it is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalGroup

from tui.chat.transcript.markdown.block import Block, has_gap
from tui.chat.transcript.markdown.block_views import BlockView, TailView, view_of
from tui.chat.transcript.markdown.stream import MarkdownStream

FLUSH_INTERVAL_S = 1 / 12
"""Shortest time between two drawings; 12 Hz keeps the processor for the model."""
_FLUSH_SHARE = 4
"""A drawing that cost t seconds of processor time is followed by a pause of at least this many
times t: a fence of hundreds of lines is drawn less often instead of slowing the model down."""
_GROUP_SIZE = 16
"""Blocks in one container: Textual keeps the layout of an unchanged container, so a new block lays
out only its own group and not the whole answer (with 130 items at half the cost)."""


class Group(VerticalGroup):
    """A run of settled blocks."""

    BLANK: ClassVar[bool] = True


class MarkdownBody(VerticalGroup):
    """Draws a growing text with the same blocks as a complete one.

    However the text was split, the final blocks are those of one parse of the whole text.
    """

    BLANK: ClassVar[bool] = True

    def __init__(self, text: str, *, is_over: bool) -> None:
        super().__init__(classes="body")
        self._text = text
        self._is_over = is_over
        self._tail = TailView()
        self._begin()

    def _begin(self) -> None:
        self._stream = MarkdownStream()
        self._fed = ""
        self._last: Block | None = None
        self._group: Group | None = None
        self._n_grouped = 0
        self.pause_s = FLUSH_INTERVAL_S

    def compose(self) -> ComposeResult:
        """Lay out the blocks known so far."""
        self.feed(self._text)
        blocks = self._stream.finish() if self._is_over else self._stream.settle()
        views = self._views(blocks)
        for start in range(0, len(views), _GROUP_SIZE):
            self._group = Group(*views[start : start + _GROUP_SIZE])
            self._n_grouped = len(views) - start
            yield self._group
        if not self._is_over:
            yield self._tail

    @property
    def blocks(self) -> list[Block]:
        """The settled blocks on the screen, in order."""
        return [view.block for view in self.query(BlockView) if view is not self._tail]

    def feed(self, text: str) -> None:
        """Take the part of the whole text that was not taken before."""
        self._stream.feed(text[len(self._fed) :])
        self._fed = max(self._fed, text, key=len)

    def flush(self) -> None:
        """Draw the text taken so far, and derive the next pause from the cost."""
        started_s = time.process_time()
        self._mount_views(self._stream.settle())
        tail = self._stream.tail()
        is_apart = bool(tail) and has_gap(self._last, tail[0])
        self._tail.show(tail, has_gap=is_apart, width=self.content_size.width)

        def measure() -> None:
            cost_s = time.process_time() - started_s
            self.pause_s = max(FLUSH_INTERVAL_S, cost_s * _FLUSH_SHARE)

        self.call_after_refresh(measure)

    def finish(self, text: str) -> None:
        """Settle the whole text and remove the tail."""
        if not text.startswith(self._fed):
            self.query(Group).remove()
            self._begin()
        self.feed(text)
        self._mount_views(self._stream.finish())
        self._tail.remove()

    def _mount_views(self, blocks: Sequence[Block]) -> None:
        views = self._views(blocks)
        while views:
            if self._group is None or self._n_grouped >= _GROUP_SIZE:
                self._group, self._n_grouped = Group(), 0
                self.mount(self._group, before=self._tail)
            room = _GROUP_SIZE - self._n_grouped
            self._group.mount_all(views[:room])
            self._n_grouped += len(views[:room])
            views = views[room:]

    def _views(self, blocks: Sequence[Block]) -> list[BlockView]:
        views: list[BlockView] = []
        for block in blocks:
            views.append(view_of(block, has_gap=has_gap(self._last, block)))
            self._last = block
        return views
