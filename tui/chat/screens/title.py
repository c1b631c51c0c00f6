"""The title row: the model's name and a description of its base."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line


class Title(Static):
    """Shows a model's name and the state of its base."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__("", markup=False, id=id)

    def show(self, name: str, state: str) -> None:
        """Show a model; `state` is the base's description, or its loading state."""
        self.update(
            Content.assemble(
                Content.styled(printable_line(name), "bold"),
                Content.styled(f" · {printable_line(state)}", MUTED),
            )
        )
