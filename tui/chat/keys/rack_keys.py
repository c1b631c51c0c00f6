"""Keys of the adapter rack, and of the field that takes a scale."""

from __future__ import annotations

from tui.chat.keys.key import Key, Place

RACK_KEYS: tuple[Key, ...] = (
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
    Key("rack.help", "question_mark", "help", "show the keys and the manual", Place.RACK, "?"),
    Key("rack.leave", "escape", "leave", "back to the prompt", Place.RACK, "Esc"),
    Key("scale.cancel", "escape", "cancel", "keep the old scale", Place.SCALE, "Esc"),
)
