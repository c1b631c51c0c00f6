"""The label of an answer: short whatever happened to the stack."""

from __future__ import annotations

import pytest

from engine.stack import Adapter, AdapterStack, StackEntry
from tui.chat.session.answer_label import answer_label, changed_text
from tui.chat.session.mix import Mix


def mix(*, is_bypassed: bool = False, **scales: float) -> Mix:
    entries = tuple(
        StackEntry(
            Adapter(
                name,
                f"/{name}.gguf",
                name.encode().hex().ljust(64, "0"),
                "llama",
                8.0,
                4,
                4,
                2,
                9,
                9,
            ),
            scale,
        )
        for name, scale in scales.items()
    )
    return Mix(AdapterStack(entries), is_bypassed)


PAIR = {"pirate": 0.7, "formal": 0.4}
MANY = dict.fromkeys("abcdefgh", 0.1)


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (mix(pirate=0.7), mix(pirate=0.3), "pirate 0.70 → 0.30"),
        (mix(**PAIR), mix(pirate=0.3, formal=0.4), "pirate 0.70 → 0.30 + formal 0.40"),
        (mix(**PAIR), mix(pirate=0.7, formal=0.5), "formal 0.40 → 0.50 + pirate 0.70"),
        (mix(**PAIR), mix(pirate=0.7, formal=0), "formal 0.40 → off + pirate 0.70"),
        (mix(pirate=1), mix(pirate=1, formal=1), "formal off → 1.00 + pirate 1.00"),
        (mix(pirate=1), mix(pirate=0), "pirate 1.00 → base"),
        (mix(), mix(pirate=1), "base → pirate 1.00"),
        (mix(pirate=1), mix(pirate=1), "pirate 1.00"),
        (
            mix(**PAIR),
            mix(is_bypassed=True, **PAIR),
            "pirate 0.70 + formal 0.40 → base (adapters bypassed)",
        ),
        (mix(is_bypassed=True, **PAIR), mix(pirate=1), "base (adapters bypassed) → pirate 1.00"),
        (
            mix(**MANY),
            mix(**{**MANY, "h": 0.2}),
            "h 0.10 → 0.20 + a 0.10 + b 0.10 + c 0.10 + 4 more",
        ),
        (mix(**MANY), mix(), "a 0.10 + b 0.10 + c 0.10 + d 0.10 + 4 more → base"),
    ],
)
def test_a_change_is_told_from_its_begin_to_its_end(first: Mix, last: Mix, text: str) -> None:
    assert changed_text(first, last) == text


@pytest.mark.parametrize(
    ("is_changed", "is_approximate", "label"),
    [
        (False, False, "pirate 0.70"),
        (False, True, "pirate 0.70 · approximate"),
        (True, True, "pirate 0.70 → 0.30 · live, approximate"),
        (True, False, "pirate 0.70 → 0.30 · live"),
    ],
)
def test_the_marks_say_how_exact_the_answer_is(
    is_changed: bool, is_approximate: bool, label: str
) -> None:
    first, last = mix(pirate=0.7), mix(pirate=0.3 if is_changed else 0.7)
    marks = {"is_changed": is_changed, "is_approximate": is_approximate}
    assert answer_label(first, last, **marks) == label


def test_a_change_there_and_back_is_still_a_change() -> None:
    same = mix(pirate=0.7)
    label = answer_label(same, same, is_changed=True, is_approximate=True)
    assert label == "pirate 0.70 · live, approximate"
