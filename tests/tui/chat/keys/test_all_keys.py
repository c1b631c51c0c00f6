"""The table of keys holds what the screens obey and the help shows."""

from __future__ import annotations

from collections import Counter

import pytest
from textual.dom import DOMNode

from tui.chat.hub.adapter_screen import HubAdapterScreen
from tui.chat.hub.words import HubWords
from tui.chat.keys.all_keys import KEYS, bindings_of, hints_of, keys_of
from tui.chat.keys.key import Place
from tui.chat.prompt.prompt import Prompt
from tui.chat.rack.add_screen import AddAdapterScreen
from tui.chat.rack.inspect_screen import InspectScreen
from tui.chat.rack.rack import Rack
from tui.chat.rack.scale_input import ScaleInput
from tui.chat.screens.chat import ChatScreen
from tui.chat.screens.help import HelpScreen, help_rows
from tui.chat.screens.manual import ManualPageScreen, ManualScreen
from tui.chat.screens.models import ModelsScreen

OWNERS: dict[Place, type[DOMNode]] = {
    Place.CHAT: ChatScreen,
    Place.PROMPT: Prompt,
    Place.RACK: Rack,
    Place.SCALE: ScaleInput,
    Place.ADD: AddAdapterScreen,
    Place.PICKER: ModelsScreen,
    Place.INSPECT: InspectScreen,
    Place.HUB: HubWords,
    Place.HUB_ADAPTER: HubAdapterScreen,
    Place.HELP: HelpScreen,
    Place.MANUAL: ManualScreen,
    Place.MANUAL_PAGE: ManualPageScreen,
}


@pytest.mark.parametrize("place", Place)
def test_every_action_exists_where_its_key_works(place: Place) -> None:
    for key in keys_of(place):
        action = key.action.split("(")[0]
        assert callable(getattr(OWNERS[place], f"action_{action}", None)), key


@pytest.mark.parametrize("place", Place)
def test_every_place_binds_exactly_its_keys(place: Place) -> None:
    bound = {binding.key for binding in OWNERS[place].BINDINGS}
    assert bound == {name for key in keys_of(place) for name in key.keys.split(",")}
    assert {binding.id for binding in bindings_of(place)} == {key.id for key in keys_of(place)}


@pytest.mark.parametrize("place", Place)
def test_no_key_is_bound_twice_in_a_place(place: Place) -> None:
    names = Counter(name for key in keys_of(place) for name in key.keys.split(","))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("place", [Place.PROMPT, Place.RACK, Place.SCALE])
def test_no_key_of_a_part_is_hidden_by_one_of_the_chat(place: Place) -> None:
    first = {n for key in keys_of(Place.CHAT) if key.is_priority for n in key.keys.split(",")}
    assert not first & {name for key in keys_of(place) for name in key.keys.split(",")}


def test_ids_are_unique_and_descriptions_are_there() -> None:
    assert len({key.id for key in KEYS}) == len(KEYS)
    assert all(key.description and key.label for key in KEYS)


def test_the_help_shows_every_key_but_its_own_and_the_manuals() -> None:
    shown = [(row.block.first.strip(), row.block.content.plain) for row in help_rows()]
    own = (Place.HELP, Place.MANUAL, Place.MANUAL_PAGE)
    listed = [key for key in KEYS if key.place not in own]
    assert [row for row in shown if row[0]] == [(key.label, key.description) for key in listed]


def test_a_blank_stands_between_every_key_and_what_it_does() -> None:
    assert all(row.block.first.endswith(" ") for row in help_rows() if row.block.first)


def test_the_footer_takes_its_words_from_the_table() -> None:
    assert ("ctrl+b", "bypass") in hints_of(Place.CHAT)
    assert ("+", "add") in hints_of(Place.RACK)
