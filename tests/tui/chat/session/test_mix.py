"""A mix is a value; every change of the rack gives a new one."""

from __future__ import annotations

import pytest

from engine.stack import Adapter, AdapterStack, StackEntry
from tui.chat.session.mix import Mix, ScaleError, parse_scale


def adapter(name: str) -> Adapter:
    return Adapter(
        name=name,
        path=f"/adapters/{name}.gguf",
        sha256=name.encode().hex().ljust(64, "0"),
        architecture="llama",
        alpha=16.0,
        rank_min=8,
        rank_max=8,
        n_targets=14,
        size_bytes=330_000,
        memory_bytes=300_000,
    )


def mix_of(**scales: float) -> Mix:
    return Mix(AdapterStack(tuple(StackEntry(adapter(n), s) for n, s in scales.items())))


def test_bypass_switches_everything_off_and_restores_the_very_same_stack() -> None:
    mix = mix_of(pirate=0.7, formal=-0.2).toggled("formal")
    bypassed = mix.with_bypass_toggled()
    assert bypassed.in_force.active == ()
    assert bypassed.label == "base (adapters bypassed)"
    assert bypassed.with_bypass_toggled() == mix
    assert mix.label == "pirate 0.70"


def test_changes_made_while_bypassed_are_there_afterwards() -> None:
    bypassed = mix_of(pirate=0.7).with_bypass_toggled().rescaled("pirate", 0.05)
    assert bypassed.in_force.active == ()
    assert bypassed.with_bypass_toggled().label == "pirate 0.75"


def test_a_hundred_small_steps_do_not_drift() -> None:
    mix = mix_of(pirate=-2.0)
    for _ in range(40):
        mix = mix.rescaled("pirate", 0.05)
    assert mix.stack.entries[0].scale == 0.0
    assert str(mix.stack.entries[0].scale) == "0.0"


def test_steps_stop_at_the_ends_of_the_range() -> None:
    assert mix_of(pirate=1.9).rescaled("pirate", 0.25).stack.entries[0].scale == 2.0
    assert mix_of(pirate=-1.9).rescaled("pirate", -0.25).stack.entries[0].scale == -2.0


def test_an_adapter_that_is_gone_changes_nothing() -> None:
    mix = mix_of(pirate=0.7)
    for changed in (
        mix.toggled("gone"),
        mix.rescaled("gone", 0.05),
        mix.with_scale("gone", 1.0),
        mix.without("gone"),
        mix.with_inserted(0, StackEntry(adapter("pirate"))),
    ):
        assert changed == mix


def test_an_adapter_comes_back_to_its_place() -> None:
    mix = mix_of(pirate=0.7, formal=0.2, shout=1.0)
    entry = mix.stack.entries[1]
    assert mix.without("formal").with_inserted(1, entry) == mix


@pytest.mark.parametrize(
    ("text", "scale"), [("0.7", 0.7), (" -2 ", -2.0), ("2", 2.0), ("0,35", 0.35), ("-0", 0.0)]
)
def test_a_typed_scale_is_read(text: str, scale: float) -> None:
    assert parse_scale(text) == scale
    assert str(parse_scale(text)) == str(scale)


@pytest.mark.parametrize("text", ["", "x", "2.01", "-3", "nan", "inf", "1e9", "0.7.1"])
def test_a_wrong_scale_is_explained_in_one_sentence(text: str) -> None:
    with pytest.raises(ScaleError, match=r"^[^\n]+\.$"):
        parse_scale(text)
