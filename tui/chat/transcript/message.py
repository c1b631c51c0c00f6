"""One message of the conversation on the screen: a question, an answer or a command's output."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalGroup
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from tui.chat.themes import MUTED
from tui.chat.transcript.markdown.body import MarkdownBody
from tui.chat.transcript.thought import Thought
from tui.conversation import Answer, AnswerState, Entry, Note, Question
from tui.text.sanitize import printable, printable_line


class QuestionView(VerticalGroup):
    """A question of the user, as plain text."""

    BLANK: ClassVar[bool] = True

    def __init__(self, question: Question) -> None:
        super().__init__(classes="message -question")
        self.entry = question

    def compose(self) -> ComposeResult:
        """Lay out the author and the text."""
        yield Static("you", markup=False, classes="author")
        yield Static(printable(self.entry.text), markup=False, classes="text")


class AnswerView(VerticalGroup):
    """An answer: its stack, its text, and how it ended."""

    BLANK: ClassVar[bool] = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(classes="message -answer")
        self.entry = answer
        self.body = MarkdownBody(answer.text, is_over=answer.state is not AnswerState.WRITING)
        self._timer: Timer | None = None
        self._header = Static(self._header_text(), markup=False, classes="author")
        self._thought = Thought()
        self._note = Static("", markup=False, classes="note")

    def compose(self) -> ComposeResult:
        """Lay out the header, the text and the note."""
        yield self._header
        yield self.body
        yield self._note

    def on_mount(self) -> None:
        """Show the thought, if any, and how the answer ended, if it has."""
        self.show_thought()
        self._show_note()

    def grow(self, answer: Answer) -> None:
        """Take a longer text; the new part is drawn with the next flush."""
        is_relabelled = answer.label != self.entry.label
        self.entry = answer
        if is_relabelled:
            self._header.update(self._header_text())
        if not self.body.is_mounted:
            return
        self.body.feed(answer.text)
        if self._timer is None:
            self._timer = self.set_timer(self.body.pause_s, self._flush)

    def end(self, answer: Answer) -> None:
        """Settle all text and show how the answer ended."""
        self.entry = answer
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self.body.finish(answer.text)
        self._header.update(self._header_text())
        self.show_thought()
        self._show_note()

    def show_thought(self) -> None:
        """Show the thought, if any, folded or unfolded as the screen says."""
        if not self.entry.thinking:
            return
        if not self._thought.is_attached:
            self.mount(self._thought, after=self._header)
        self._thought.show(self.entry)

    def _flush(self) -> None:
        self._timer = None
        self.show_thought()
        self.body.flush()

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


class NoteView(VerticalGroup):
    """The output of a command, as plain text below the command."""

    BLANK: ClassVar[bool] = True

    def __init__(self, note: Note) -> None:
        super().__init__(classes="message -note")
        self.entry = note

    def compose(self) -> ComposeResult:
        """Lay out the command and its text."""
        yield Static(printable_line(self.entry.heading), markup=False, classes="author")
        yield Static(printable(self.entry.text).rstrip(), markup=False, classes="text")


MessageView = QuestionView | AnswerView | NoteView


def message_view(entry: Entry) -> MessageView:
    """Return the widget of a message."""
    if isinstance(entry, Note):
        return NoteView(entry)
    return QuestionView(entry) if isinstance(entry, Question) else AnswerView(entry)
