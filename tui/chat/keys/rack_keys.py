"""Keys of the adapter rack, and of the field that takes a scale."""

from __future__ import annotations

from functools import partial

from tui.chat.keys.key import Key, Place

_rack = partial(Key, Place.RACK)

RACK_KEYS: tuple[Key, ...] = (
    _rack(
        "rack.toggle_nth",
        "1,2,3,4,5,6,7,8,9",
        "toggle_nth",
        "switch adapter n on or off (from scale 0 it goes to 1.0)",
        "1-9",
        "on/off",
    ),
    _rack("rack.toggle", "space", "switch", "switch the selected adapter on or off", "space"),
    _rack("rack.previous", "up,k", "select(-1)", "select the adapter above", "↑"),
    _rack("rack.next", "down,j", "select(1)", "select the adapter below", "↓"),
    _rack("rack.less", "left", "rescale(-0.05)", "scale down by 0.05", "←", "scale", "←→"),
    _rack("rack.more", "right", "rescale(0.05)", "scale up by 0.05", "→"),
    _rack("rack.much_less", "shift+left", "rescale(-0.25)", "scale down by 0.25", "shift+←"),
    _rack("rack.much_more", "shift+right", "rescale(0.25)", "scale up by 0.25", "shift+→"),
    _rack("rack.type", "enter", "type_scale", "type a scale, -2 to 2", "Enter", "type"),
    _rack("rack.zero", "0,z", "set_scale(0.0)", "scale 0", "0 or z"),
    _rack("rack.one", "o", "set_scale(1.0)", "scale 1.0", "o"),
    _rack(
        "rack.add",
        "plus,a",
        "add",
        "add an adapter: a path, hf.co/…, or a pulled name",
        "+ or a",
        "add",
    ),
    _rack("rack.hub", "slash", "hub", "find adapters on the Hugging Face Hub", "/", "find"),
    _rack("rack.remove", "x,delete", "remove", "remove the adapter", "x or Del", "remove"),
    _rack(
        "rack.inspect",
        "i",
        "inspect",
        "inspect the adapters: what each changes, whether two get along",
        hint="inspect",
    ),
    _rack("rack.undo", "u", "undo", "bring the removed adapter back"),
    _rack(
        "rack.live",
        "l",
        "toggle_live",
        "live: changes apply during an answer (approximate), or no longer",
        hint="live",
    ),
    _rack("rack.help", "question_mark", "help", "show the keys and the manual", "?"),
    _rack("rack.leave", "escape", "leave", "back to the prompt", "Esc"),
    Key(Place.SCALE, "scale.cancel", "escape", "cancel", "keep the old scale", "Esc"),
)
