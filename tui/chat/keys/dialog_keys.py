"""Keys of the dialogs and screens over the chat."""

from __future__ import annotations

from functools import partial

from tui.chat.keys.key import Key, Place

_add = partial(Key, Place.ADD)
_inspect = partial(Key, Place.INSPECT)
_hub = partial(Key, Place.HUB)
_hub_adapter = partial(Key, Place.HUB_ADAPTER)

DIALOG_KEYS: tuple[Key, ...] = (
    _add("add.complete", "tab", "complete", "take the suggested path", "Tab", is_priority=True),
    _add("add.cancel", "escape", "cancel", "add nothing", "Esc"),
    Key(Place.PICKER, "picker.cancel", "escape", "cancel", "back to the chat", "Esc"),
    _inspect("inspect.previous", "left,h", "show(-1)", "the adapter before", "←"),
    _inspect("inspect.next", "right,l", "show(1)", "the next adapter", "→"),
    _inspect("inspect.up", "up,k", "scroll(-1)", "scroll up", "↑"),
    _inspect("inspect.down", "down,j", "scroll(1)", "scroll down", "↓"),
    _inspect("inspect.page_up", "pageup", "page(-1)", "scroll up a page", "PgUp"),
    _inspect("inspect.page_down", "pagedown", "page(1)", "scroll down a page", "PgDn"),
    _inspect("inspect.close", "escape,i,q", "close", "back to the chat", "Esc"),
    _hub("hub.open", "enter", "submit", "look at the adapter", "Enter"),
    _hub("hub.up", "up", "wish('up')", "the adapter above", "↑"),
    _hub("hub.down", "down", "wish('down')", "the adapter below", "↓"),
    _hub("hub.page_up", "pageup", "wish('page_up')", "a page up", "PgUp"),
    _hub("hub.page_down", "pagedown", "wish('page_down')", "a page down", "PgDn"),
    _hub("hub.first", "ctrl+home", "wish('first')", "the first adapter"),
    _hub("hub.last", "ctrl+end", "wish('last')", "the last adapter"),
    _hub("hub.scope", "ctrl+e", "wish('scope')", "adapters for this base, or every adapter"),
    _hub("hub.order", "ctrl+o", "wish('order')", "by downloads, likes or age"),
    _hub("hub.again", "ctrl+r", "wish('again')", "search again"),
    _hub("hub.close", "escape", "wish('close')", "back to the chat", "Esc"),
    _hub_adapter(
        "hub_adapter.go_on", "enter", "go_on", "pull the adapter into the rack; asks first", "Enter"
    ),
    _hub_adapter("hub_adapter.previous", "left,h", "choose(-1)", "the file before", "←"),
    _hub_adapter("hub_adapter.next", "right,l", "choose(1)", "the next file", "→"),
    _hub_adapter("hub_adapter.up", "up,k", "scroll(-1)", "scroll up", "↑"),
    _hub_adapter("hub_adapter.down", "down,j", "scroll(1)", "scroll down", "↓"),
    _hub_adapter("hub_adapter.page_up", "pageup", "page(-1)", "scroll up a page", "PgUp"),
    _hub_adapter("hub_adapter.page_down", "pagedown", "page(1)", "scroll down a page", "PgDn"),
    _hub_adapter(
        "hub_adapter.leave",
        "escape,q",
        "leave",
        "cancel what goes on, else back to the list",
        "Esc",
    ),
    Key(Place.HELP, "help.manual", "m", "manual", "read the manual"),
    Key(Place.HELP, "help.close", "escape,f1,q", "close", "back to the chat", "Esc"),
    Key(Place.MANUAL, "manual.close", "escape,q", "close", "back to the keys", "Esc"),
    Key(Place.MANUAL_PAGE, "manual_page.close", "escape,q", "close", "back to the list", "Esc"),
)
