"""One message of the conversation on the screen: a question, or an answer that may be growing."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalGroup
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from tui.conversation import Answer, AnswerState, Entry, Question
from tui.markdown.block import Block, has_gap
from tui.markdown.stream import MarkdownStream
from tui.sanitize import printable, printable_line
from tui.themes import MUTED
from tui.widgets.blocks import BlockView, TailView, view_of

THOUGHTS_UNFOLDED = "-thoughts"
"""Class of a screen that shows the whole of what the model thought."""
FLUSH_INTERVAL_S = 1 / 12
"""Shortest time between two updates of the tail; 12 Hz keeps the processor for the model."""
_FLUSH_SHARE = 6
"""A flush that took t seconds is followed by a pause of at least this many times t."""


class QuestionView(VerticalGroup):
    """What the person asked, as plain text."""

    BLANK: ClassVar[bool] = True

    def __init__(self, question: Question) -> None:
        super().__init__(classes="message -question")
        self.entry = question

    def compose(self) -> ComposeResult:
        """Lay out the author and the text."""
        yield Static("you", markup=False, classes="author")
        yield Static(printable(self.entry.text), markup=False, classes="text")


class AnswerView(VerticalGroup):
    """An answer: its stack, settled blocks, at most one live tail, and how it ended."""

    BLANK: ClassVar[bool] = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(classes="message -answer")
        self.entry = answer
        self._fed = ""
        self._stream = MarkdownStream()
        self._last: Block | None = None
        self._timer: Timer | None = None
        self._header = Static(self._header_text(), markup=False, classes="author")
        self._thought = Static("", markup=False, classes="thought")
        self._tail = TailView()
        self._note = Static("", markup=False, classes="note")

    def compose(self) -> ComposeResult:
        """Lay out the header, the blocks known so far, the tail and the note."""
        self._feed(self.entry.text)
        is_over = self.entry.state is not AnswerState.WRITING
        blocks = self._stream.finish() if is_over else self._stream.settle()
        yield self._header
        with VerticalGroup(classes="body"):
            yield from self._views(blocks)
            if not is_over:
                yield self._tail
        yield self._note

    def on_mount(self) -> None:
        """Show the thought, and how the answer ended where it has."""
        self.show_thought()
        self._show_note()

    @property
    def blocks(self) -> list[Block]:
        """The settled blocks on the screen, in order."""
        return [view.block for view in self.query(BlockView) if view is not self._tail]

    def grow(self, answer: Answer) -> None:
        """Take a longer text; what is new is drawn with the next flush."""
        self.entry = answer
        if not self.is_mounted:
            return
        self._feed(answer.text)
        if self._timer is None:
            self._timer = self.set_timer(FLUSH_INTERVAL_S, self._flush)

    def end(self, answer: Answer) -> None:
        """Settle everything and show how the answer ended."""
        self.entry = answer
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        body = self.query_one(".body", VerticalGroup)
        if not answer.text.startswith(self._fed):
            body.query(BlockView).exclude(".-tail").remove()
            self._fed, self._last, self._stream = "", None, MarkdownStream()
        self._feed(answer.text)
        views = self._views(self._stream.finish())
        if views:
            body.mount_all(views, before=self._tail)
        self._tail.remove()
        self._header.update(self._header_text())
        self.show_thought()
        self._show_note()

    def show_thought(self) -> None:
        """Show one line for what was thought, and the whole of it where the screen unfolds it."""
        answer = self.entry
        if not answer.thinking:
            return
        if not self._thought.is_attached:
            self.mount(self._thought, after=self._header)
        plural = "token" if answer.n_thought == 1 else "tokens"
        line = f"thought for {answer.n_thought} {plural}" if answer.n_thought else "thought"
        if answer.state is AnswerState.WRITING and not answer.text:
            line = "thinking …"
        is_unfolded = self.screen.has_class(THOUGHTS_UNFOLDED)
        fold = "ctrl+t folds it" if is_unfolded else "ctrl+t shows it"
        lines = [f"{line} · {fold}", *([printable(answer.thinking)] if is_unfolded else [])]
        self._thought.update("\n".join(lines))

    def _feed(self, text: str) -> None:
        """Take what the whole text has more than what was taken before."""
        self._stream.feed(text[len(self._fed) :])
        self._fed = max(self._fed, text, key=len)

    def _flush(self) -> None:
        started_s = time.perf_counter()
        self.show_thought()
        views = self._views(self._stream.settle())
        if views:
            self.query_one(".body", VerticalGroup).mount_all(views, before=self._tail)
        tail = self._stream.tail()
        is_apart = bool(tail) and has_gap(self._last, tail[0])
        self._tail.show(tail, has_gap=is_apart, width=self._tail.container_size.width)
        elapsed_s = time.perf_counter() - started_s
        # A long tail (a fence of hundreds of lines) is drawn less often instead of taking the
        # processor away from the model.
        pause_s = elapsed_s * _FLUSH_SHARE
        if pause_s > FLUSH_INTERVAL_S:
            self._timer = self.set_timer(pause_s, self._flush)
        else:
            self._timer = None

    def _views(self, blocks: list[Block]) -> list[Widget]:
        views: list[Widget] = []
        for block in blocks:
            views.append(view_of(block, has_gap=has_gap(self._last, block)))
            self._last = block
        return views

    def _header_text(self) -> Content:
        answer = self.entry
        parts = [
            Content.styled(printable_line(answer.author.removesuffix(":latest")), "bold $primary"),
            Content("  "),
            Content.styled(printable_line(answer.label), MUTED),
        ]
        if answer.state is not AnswerState.WRITING and answer.tokens_per_s > 0:
            parts.append(Content.styled(f" · {answer.tokens_per_s:.0f} tok/s", MUTED))
        return Content.assemble(*parts)

    def _show_note(self) -> None:
        answer = self.entry
        lines = [Content.styled(printable_line(text), MUTED) for text in answer.notices]
        if answer.state is AnswerState.STOPPED:
            lines.append(Content.styled("stopped", "$text-warning"))
        elif answer.state is AnswerState.FAILED:
            lines.append(Content.styled(printable_line(answer.error), "$text-error"))
        self._note.update(Content("\n").join(lines))
        self._note.display = bool(lines)


def message_view(entry: Entry) -> QuestionView | AnswerView:
    """Return the widget of a message."""
    return QuestionView(entry) if isinstance(entry, Question) else AnswerView(entry)
