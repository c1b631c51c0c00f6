"""Every key of the chat, once: bindings, help, footer and README are made from this table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding


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


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table."""

    id: str
    """Stable name of the binding, for a user's own key map."""
    keys: str
    """Textual's key names, separated by commas."""
    action: str
    """Action of the widget or screen that owns the place."""
    description: str
    """What the key does, for the help and the README."""
    place: Place
    shown: str = ""
    """How the keys are written for people; empty shows `keys`."""
    hint: str = ""
    """One or two words for the footer; empty keeps the key out of it."""
    hint_keys: str = ""
    """The keys as the footer writes them; empty takes the first of `shown`."""
    is_priority: bool = False
    """Whether the key wins over the focused widget's own use of it."""

    @property
    def label(self) -> str:
        """The keys as written for people."""
        return self.shown or self.keys.replace(",", ", ")


KEYS: tuple[Key, ...] = (
    # The chat's keys win over those of the text area (ctrl+y redoes, ctrl+end moves the cursor).
    Key(
        "chat.stop",
        "escape",
        "stop",
        "stop the answer; what is written stays",
        Place.CHAT,
        "Esc",
        "stop",
    ),
    Key(
        "chat.switch",
        "tab,shift+tab",
        "switch_focus",
        "move between the prompt and the rack; after / complete the command",
        Place.CHAT,
        "Tab",
        "rack",
        is_priority=True,
    ),
    Key(
        "chat.bypass",
        "ctrl+b",
        "bypass",
        "bypass all adapters: hear the bare base; again to restore",
        Place.CHAT,
        hint="bypass",
        is_priority=True,
    ),
    Key(
        "chat.regenerate",
        "ctrl+g",
        "regenerate",
        "answer the last message again, with the stack of now",
        Place.CHAT,
        hint="again",
        is_priority=True,
    ),
    Key(
        "chat.copy",
        "ctrl+y",
        "copy_answer",
        "copy the last answer",
        Place.CHAT,
        hint="copy",
        is_priority=True,
    ),
    Key(
        "chat.copy_selection",
        "ctrl+c,super+c",
        "copy_or_quit",
        "copy the selected text; with nothing selected, twice quits",
        Place.CHAT,
        "ctrl+c",
        is_priority=True,
    ),
    Key(
        "chat.thoughts",
        "ctrl+t",
        "toggle_thoughts",
        "show or fold what a reasoning model thought",
        Place.CHAT,
        is_priority=True,
    ),
    Key(
        "chat.new",
        "ctrl+n",
        "new_chat",
        "new chat; the stack stays",
        Place.CHAT,
        hint="new",
        is_priority=True,
    ),
    Key(
        "chat.models",
        "ctrl+o",
        "models",
        "choose another model",
        Place.CHAT,
        hint="models",
        is_priority=True,
    ),
    Key(
        "chat.hub",
        "ctrl+f",
        "hub",
        "find adapters on the Hugging Face Hub",
        Place.CHAT,
        hint="find",
        is_priority=True,
    ),
    Key("chat.up", "pageup", "page_up", "scroll up", Place.CHAT, "PgUp", is_priority=True),
    Key("chat.down", "pagedown", "page_down", "scroll down", Place.CHAT, "PgDn", is_priority=True),
    Key(
        "chat.first",
        "ctrl+home",
        "first",
        "go to the first message",
        Place.CHAT,
        is_priority=True,
    ),
    Key(
        "chat.latest",
        "ctrl+end",
        "latest",
        "go to the latest message and follow the answer",
        Place.CHAT,
        is_priority=True,
    ),
    Key("chat.help", "f1", "help", "show the keys", Place.CHAT, "F1", "keys", is_priority=True),
    Key(
        "chat.palette",
        "ctrl+p",
        "palette",
        "themes and other commands",
        Place.CHAT,
        is_priority=True,
    ),
    Key("chat.quit", "ctrl+q", "quit", "quit", Place.CHAT, hint="quit", is_priority=True),
    Key("prompt.send", "enter", "send", "send the message", Place.PROMPT, "Enter"),
    Key(
        "prompt.newline",
        "ctrl+j,shift+enter",
        "newline",
        "new line",
        Place.PROMPT,
        "ctrl+j (shift+enter)",
    ),
    Key(
        "prompt.recall",
        "up",
        "recall",
        "on an empty prompt: the last message again",
        Place.PROMPT,
        "↑",
    ),
    Key(
        "rack.toggle_nth",
        "1,2,3,4,5,6,7,8,9",
        "toggle_nth",
        "switch adapter n on or off (from scale 0 it goes to 1.0)",
        Place.RACK,
        "1-9",
        "on/off",
    ),
    Key(
        "rack.toggle",
        "space",
        "switch",
        "switch the selected adapter on or off",
        Place.RACK,
        "space",
    ),
    Key("rack.previous", "up,k", "select(-1)", "select the adapter above", Place.RACK, "↑"),
    Key("rack.next", "down,j", "select(1)", "select the adapter below", Place.RACK, "↓"),
    Key(
        "rack.less", "left", "rescale(-0.05)", "scale down by 0.05", Place.RACK, "←", "scale", "←→"
    ),
    Key("rack.more", "right", "rescale(0.05)", "scale up by 0.05", Place.RACK, "→"),
    Key(
        "rack.much_less",
        "shift+left",
        "rescale(-0.25)",
        "scale down by 0.25",
        Place.RACK,
        "shift+←",
    ),
    Key(
        "rack.much_more",
        "shift+right",
        "rescale(0.25)",
        "scale up by 0.25",
        Place.RACK,
        "shift+→",
    ),
    Key("rack.type", "enter", "type_scale", "type a scale, -2 to 2", Place.RACK, "Enter", "type"),
    Key("rack.zero", "0,z", "set_scale(0.0)", "scale 0", Place.RACK, "0 or z"),
    Key("rack.one", "o", "set_scale(1.0)", "scale 1.0", Place.RACK, "o"),
    Key(
        "rack.add",
        "plus,a",
        "add",
        "add an adapter: a path, hf.co/…, or a pulled name",
        Place.RACK,
        "+ or a",
        "add",
    ),
    Key(
        "rack.hub",
        "slash",
        "hub",
        "find adapters on the Hugging Face Hub",
        Place.RACK,
        "/",
        "find",
    ),
    Key(
        "rack.remove", "x,delete", "remove", "remove the adapter", Place.RACK, "x or Del", "remove"
    ),
    Key(
        "rack.inspect",
        "i",
        "inspect",
        "inspect the adapters: what each changes, whether two get along",
        Place.RACK,
        hint="inspect",
    ),
    Key("rack.undo", "u", "undo", "bring the removed adapter back", Place.RACK),
    Key(
        "rack.live",
        "l",
        "toggle_live",
        "live: changes apply during an answer (approximate), or no longer",
        Place.RACK,
        hint="live",
    ),
    Key("rack.help", "question_mark", "help", "show the keys", Place.RACK, "?"),
    Key("rack.leave", "escape", "leave", "back to the prompt", Place.RACK, "Esc"),
    Key("scale.cancel", "escape", "cancel", "keep the old scale", Place.SCALE, "Esc"),
    Key(
        "add.complete",
        "tab",
        "complete",
        "take the suggested path",
        Place.ADD,
        "Tab",
        is_priority=True,
    ),
    Key("add.cancel", "escape", "cancel", "add nothing", Place.ADD, "Esc"),
    Key("picker.cancel", "escape", "cancel", "back to the chat", Place.PICKER, "Esc"),
    Key("inspect.previous", "left,h", "show(-1)", "the adapter before", Place.INSPECT, "←"),
    Key("inspect.next", "right,l", "show(1)", "the next adapter", Place.INSPECT, "→"),
    Key("inspect.up", "up,k", "scroll(-1)", "scroll up", Place.INSPECT, "↑"),
    Key("inspect.down", "down,j", "scroll(1)", "scroll down", Place.INSPECT, "↓"),
    Key("inspect.page_up", "pageup", "page(-1)", "scroll up a page", Place.INSPECT, "PgUp"),
    Key("inspect.page_down", "pagedown", "page(1)", "scroll down a page", Place.INSPECT, "PgDn"),
    Key("inspect.close", "escape,i,q", "close", "back to the chat", Place.INSPECT, "Esc"),
    Key("hub.open", "enter", "submit", "look at the adapter", Place.HUB, "Enter"),
    Key("hub.up", "up", "wish('up')", "the adapter above", Place.HUB, "↑"),
    Key("hub.down", "down", "wish('down')", "the adapter below", Place.HUB, "↓"),
    Key("hub.page_up", "pageup", "wish('page_up')", "a page up", Place.HUB, "PgUp"),
    Key("hub.page_down", "pagedown", "wish('page_down')", "a page down", Place.HUB, "PgDn"),
    Key("hub.first", "ctrl+home", "wish('first')", "the first adapter", Place.HUB),
    Key("hub.last", "ctrl+end", "wish('last')", "the last adapter", Place.HUB),
    Key(
        "hub.scope",
        "ctrl+e",
        "wish('scope')",
        "adapters for this base, or every adapter",
        Place.HUB,
    ),
    Key("hub.order", "ctrl+o", "wish('order')", "by downloads, likes or age", Place.HUB),
    Key("hub.again", "ctrl+r", "wish('again')", "search again", Place.HUB),
    Key("hub.close", "escape", "wish('close')", "back to the chat", Place.HUB, "Esc"),
    Key(
        "hub_adapter.go_on",
        "enter",
        "go_on",
        "pull the adapter into the rack; asks first",
        Place.HUB_ADAPTER,
        "Enter",
    ),
    Key("hub_adapter.previous", "left,h", "choose(-1)", "the file before", Place.HUB_ADAPTER, "←"),
    Key("hub_adapter.next", "right,l", "choose(1)", "the next file", Place.HUB_ADAPTER, "→"),
    Key("hub_adapter.up", "up,k", "scroll(-1)", "scroll up", Place.HUB_ADAPTER, "↑"),
    Key("hub_adapter.down", "down,j", "scroll(1)", "scroll down", Place.HUB_ADAPTER, "↓"),
    Key("hub_adapter.page_up", "pageup", "page(-1)", "scroll up a page", Place.HUB_ADAPTER, "PgUp"),
    Key(
        "hub_adapter.page_down",
        "pagedown",
        "page(1)",
        "scroll down a page",
        Place.HUB_ADAPTER,
        "PgDn",
    ),
    Key(
        "hub_adapter.leave",
        "escape,q",
        "leave",
        "cancel what goes on, else back to the list",
        Place.HUB_ADAPTER,
        "Esc",
    ),
    Key("help.close", "escape,f1,q", "close", "back to the chat", Place.HELP, "Esc"),
)


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
