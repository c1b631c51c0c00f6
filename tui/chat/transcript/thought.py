"""A reasoning model's thought before an answer: one line, or the whole text if unfolded."""

from __future__ import annotations

from textual.widgets import Static

from tui.conversation import Answer, AnswerState
from tui.text.sanitize import printable

THOUGHTS_UNFOLDED = "-thoughts"
"""Class of a screen that shows the full thoughts."""


class Thought(Static):
    """The thought of one answer, folded unless its screen says otherwise."""

    def __init__(self) -> None:
        super().__init__("", markup=False, classes="thought")
        self._shown = ""

    def show(self, answer: Answer) -> None:
        """Show the length of the thought, and the thought itself if it is unfolded."""
        plural = "token" if answer.n_thought == 1 else "tokens"
        line = f"thought for {answer.n_thought} {plural}" if answer.n_thought else "thought"
        if answer.state is AnswerState.WRITING and not answer.text:
            line = "thinking …"
        is_unfolded = self.screen.has_class(THOUGHTS_UNFOLDED)
        shown = f"{line} · ctrl+t {'folds' if is_unfolded else 'shows'} it"
        if is_unfolded:
            shown += f"\n{printable(answer.thinking)}"
        if shown != self._shown:
            self._shown = shown
            self.update(shown)
