"""The list above the prompt that shows how the command being typed can be completed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual import work
from textual.content import Content
from textual.widgets import Static

from tui.chat.prompt.slash.completion import (
    Candidate,
    candidates,
    completed,
    is_model_name_next,
    usage,
)
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line


class Suggestions(Static):
    """Only shows: Tab takes the text of `completed`, every other key stays with the prompt."""

    def __init__(self, model_names: Callable[[], Sequence[str]], *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__("", markup=False, id=id)
        self._read_names = model_names
        self._names: Sequence[str] = ()
        self._text = ""
        self._found: tuple[Candidate, ...] = ()

    @property
    def has_candidates(self) -> bool:
        """Whether the text is a command that Tab completes."""
        return bool(self._found)

    @property
    def completed(self) -> str:
        """The text with its last word completed."""
        return completed(self._text, self._found)

    def suggest(self, text: str) -> None:
        """Show the completions of `text`; nothing if it is not a command."""
        had_names_next = is_model_name_next(self._text)
        self._text = text
        if is_model_name_next(text) and not had_names_next:
            self._names = ()
            self._load_names()
        self._show()

    @work(exclusive=True)
    async def _load_names(self) -> None:
        self._names = await asyncio.to_thread(self._read_names)
        self._show()

    def _show(self) -> None:
        self._found = candidates(self._text, self._names)
        how = usage(self._text)
        lines = [Content.styled(how, MUTED)] if how else []
        described = [c for c in self._found if c.description]
        width = max((len(c.word) for c in described), default=0)
        lines += [_line(c, width) for c in described]
        bare = [printable_line(c.word) for c in self._found if not c.description]
        if bare:
            lines.append(Content("  ".join(bare)))
        self.display = bool(lines)
        self.update(Content("\n").join(lines))


def _line(candidate: Candidate, width: int) -> Content:
    return Content.assemble(
        f"{printable_line(candidate.word):<{width}}  ",
        Content.styled(printable_line(candidate.description), MUTED),
    )
