"""One key of the chat: where it works and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where a key works; the value is the heading in the help."""

    CHAT = "Anywhere in the chat"
    PROMPT = "In the prompt"
    RACK = "In the adapter rack"
    SCALE = "While typing a scale"
    ADD = "While adding an adapter"
    PICKER = "In the list of models"
    INSPECT = "While inspecting adapters"
    HUB = "While finding adapters on the Hub"
    HUB_ADAPTER = "While looking at an adapter of the Hub"
    HELP = "In this help"
    MANUAL = "In the list of the manual's pages"
    MANUAL_PAGE = "While reading a page of the manual"


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table."""

    place: Place
    id: str
    """Stable name of the binding, for a user's own key map."""
    keys: str
    """Textual's key names, separated by commas."""
    action: str
    """Action of the widget or screen that owns the place."""
    description: str
    """What the key does, for the help and the manual."""
    shown: str = ""
    """The keys as shown to the user; empty shows `keys`."""
    hint: str = ""
    """One or two words for the footer; empty keeps the key out of it."""
    hint_keys: str = ""
    """The keys as the footer shows them; empty takes the first of `shown`."""
    is_priority: bool = False
    """Whether the key wins over the focused widget's own use of it."""

    @property
    def label(self) -> str:
        """The keys as shown to the user."""
        return self.shown or self.keys.replace(",", ", ")
