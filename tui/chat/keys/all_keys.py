"""The table of all keys of the chat, from which bindings, help, footer and manual are made."""

from __future__ import annotations

from collections.abc import Iterator

from textual.binding import Binding

from tui.chat.keys.chat_keys import CHAT_KEYS
from tui.chat.keys.dialog_keys import DIALOG_KEYS
from tui.chat.keys.key import Key, Place
from tui.chat.keys.rack_keys import RACK_KEYS

KEYS: tuple[Key, ...] = (*CHAT_KEYS, *RACK_KEYS, *DIALOG_KEYS)


def keys_of(place: Place) -> Iterator[Key]:
    """Yield the keys of a place in the order of the table."""
    return (key for key in KEYS if key.place is place)


def bindings_of(place: Place) -> list[Binding]:
    """Return the bindings of a place.

    A key whose action is `toggle_nth` is bound once per digit, each with its number.
    """
    bindings: list[Binding] = []
    for key in keys_of(place):
        for name in key.keys.split(","):
            action = f"toggle_nth({name})" if key.action == "toggle_nth" else key.action
            bindings.append(
                Binding(
                    name,
                    action,
                    key.description,
                    show=False,
                    key_display=key.label,
                    priority=key.is_priority,
                    id=key.id,
                )
            )
    return bindings


def hints_of(place: Place) -> list[tuple[str, str]]:
    """Return (keys, word) of a place's footer hints, most important first."""
    return [
        (key.hint_keys or key.label.split(" or ")[0], key.hint)
        for key in keys_of(place)
        if key.hint
    ]
