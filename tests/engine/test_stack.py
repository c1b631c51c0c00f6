"""An adapter stack is a value whose digest says what it does."""

from __future__ import annotations

import msgspec
import pytest

from engine.errors import AdapterError
from engine.stack import Adapter, AdapterStack, StackEntry, stack_of


def adapter(name: str, content: str | None = None) -> Adapter:
    sha256 = (content or name).encode().hex().ljust(64, "0")
    return Adapter(name, f"/{name}.gguf", sha256, "llama", 16.0, 8, 8, 14, 1000, 900)


PIRATE, FORMAL = adapter("pirate"), adapter("formal")


def test_order_changes_nothing_since_deltas_add_up() -> None:
    forward = stack_of([(PIRATE, 0.7), (FORMAL, 0.4)])
    backward = stack_of([(FORMAL, 0.4), (PIRATE, 0.7)])
    assert forward != backward
    assert forward.digest == backward.digest


def test_an_adapter_that_does_nothing_leaves_the_digest_of_the_base() -> None:
    assert stack_of([(PIRATE, 0.0)]).digest == AdapterStack().digest
    assert stack_of([(PIRATE, 1.0)]).with_enabled("pirate", False).digest == AdapterStack().digest
    assert stack_of([(PIRATE, 1.0), (FORMAL, 1.0)]).bypassed().digest == AdapterStack().digest


def test_scale_and_content_change_the_digest_but_the_name_does_not() -> None:
    whole = stack_of([(PIRATE, 1.0)])
    assert whole.digest != stack_of([(PIRATE, 0.95)]).digest
    assert whole.digest != stack_of([(FORMAL, 1.0)]).digest
    assert whole.digest == stack_of([(adapter("corsair", content="pirate"), 1.0)]).digest


def test_equal_content_under_two_names_adds_up() -> None:
    twin = adapter("corsair", content="pirate")
    assert stack_of([(PIRATE, 0.5), (twin, 0.25)]).digest == stack_of([(PIRATE, 0.75)]).digest
    assert stack_of([(PIRATE, 0.5), (twin, -0.5)]).digest == AdapterStack().digest


def test_scales_that_are_one_float32_are_one_stack() -> None:
    assert stack_of([(PIRATE, 0.1)]).digest == stack_of([(PIRATE, 0.1 + 1e-12)]).digest


def test_toggling_twice_restores_the_stack() -> None:
    stack = stack_of([(PIRATE, 0.7), (FORMAL, 0.4)])
    assert not stack.toggled("pirate").find("pirate").is_active
    assert stack.toggled("pirate").toggled("pirate") == stack


def test_an_adapter_at_scale_zero_is_switched_on_at_the_strength_it_was_trained_at() -> None:
    assert stack_of([(PIRATE, 0.0)]).toggled("pirate").label == "pirate 1.00"


def test_the_label_names_what_is_active() -> None:
    stack = stack_of([(PIRATE, 0.7), (FORMAL, 0.4)])
    assert stack.label == "pirate 0.70 + formal 0.40"
    assert stack.with_enabled("formal", False).label == "pirate 0.70"
    assert stack.bypassed().label == "base"


def test_rescaling_switches_an_adapter_on() -> None:
    stack = stack_of([(PIRATE, 0.7)]).with_enabled("pirate", False).with_scale("pirate", 0.3)
    assert stack.entries == (StackEntry(PIRATE, 0.3, True),)


def test_a_name_stands_for_one_adapter() -> None:
    with pytest.raises(AdapterError, match="pirate"):
        stack_of([(PIRATE, 1.0), (adapter("pirate", content="other"), 1.0)])
    with pytest.raises(AdapterError, match="'shout'"):
        stack_of([(PIRATE, 1.0)]).with_scale("shout", 1.0)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), float("-inf")])
def test_a_scale_is_a_finite_number(scale: float) -> None:
    with pytest.raises(AdapterError, match="pirate"):
        stack_of([(PIRATE, scale)])


def test_a_stack_survives_the_way_to_the_worker() -> None:
    stack = stack_of([(PIRATE, 0.1), (FORMAL, -1.25)]).with_enabled("formal", False)
    copy = msgspec.json.decode(msgspec.json.encode(stack), type=AdapterStack)
    assert copy == stack
    assert copy.digest == stack.digest
