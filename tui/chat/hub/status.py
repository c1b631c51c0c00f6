"""Texts of the search screen: what is searched, what is wrong, what to try."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from engine.hub.search.base_names import BaseIdentity
from engine.hub.search.search import Sort
from tui.chat.hub.search import MAX_FOUND
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line

_ORDERS: dict[Sort, str] = {"downloads": "downloads", "likes": "likes", "recent": "newest"}


@dataclass(frozen=True, slots=True)
class Status:
    """State of a search."""

    identity: BaseIdentity
    """The base."""
    words: str
    is_everything: bool
    """Whether adapters for any base are searched for."""
    order: Sort
    n_rows: int
    is_searching: bool
    error: str

    @property
    def is_anonymous(self) -> bool:
        """Whether the base has no known repository on the Hub."""
        return not self.identity.repositories


def state_content(status: Status) -> Content:
    """Return the line below the search field."""
    name = printable_line(status.identity.name)
    parts = ["for any base" if status.is_everything else f"for {name}"]
    parts.append(f"by {_ORDERS[status.order]}")
    if status.n_rows:
        parts.append(f"{status.n_rows} found")
    if status.is_searching:
        parts.append("searching…")
    return Content.styled(" · ".join(parts), MUTED)


def told_content(status: Status) -> Content:
    """Return the sentences below the rows; empty if there are none."""
    if status.error:
        return Content.styled(f"{printable_line(status.error)} ctrl+r tries again.", "$text-error")
    sentences = []
    if status.is_anonymous:
        sentences.append(
            f"{printable_line(status.identity.name)} does not say which model of the Hub it is: "
            "adapters for any base are searched by words."
        )
    if not status.is_searching:
        if not status.n_rows:
            sentences.append(_nothing_found(status))
        elif status.n_rows >= MAX_FOUND:
            sentences.append(f"These are the first {MAX_FOUND}: words find others.")
    return Content.styled(" ".join(sentences), MUTED)


def _nothing_found(status: Status) -> str:
    if words := printable_line(status.words):
        wider = "" if status.is_everything else ", or ctrl+e for adapters of any base"
        return f"Nothing was found for “{words}”: try fewer or other words{wider}."
    if status.is_everything:
        return "Nothing was found: type words, such as what the adapter is for."
    return "Nobody has published adapters for this base: ctrl+e searches those of any base."
