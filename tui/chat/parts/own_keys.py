"""Run the keys of a widget in the order in which they were typed."""

from __future__ import annotations

from textual import events
from textual.widget import Widget

from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place


async def run_own_key(widget: Widget, event: events.Key, place: Place) -> None:
    """Run the widget's binding of a key at once, before the next key is handled.

    A terminal on a slow line delivers several keys together. Textual runs a priority binding before
    the keys still queued for the widget, and any other binding only after the key has bubbled up,
    when the focus may be elsewhere: `hi` and Enter sent nothing, `1` and Tab switched nothing.
    """
    if not widget.has_focus:
        return  # a key that a child did not handle
    for binding in bindings_of(place):
        if binding.key == event.key:
            event.stop()
            event.prevent_default()
            await widget.run_action(binding.action)
            return
