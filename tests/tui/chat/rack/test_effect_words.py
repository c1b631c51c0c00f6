"""Numbers of an effect as a person reads them."""

from __future__ import annotations

import pytest

from engine.protocol.values import AdapterEffect
from tui.chat.rack.effect_words import effect_text, usage_texts

SHA = "00" * 32


@pytest.mark.parametrize(
    ("nats", "text"),
    [
        (1.8345, "1.8 nats"),
        (0.0312, "0.031 nats"),
        (0.00012, "0.00012 nats"),
        (12.4, "12 nats"),
        (9.99, "10 nats"),
        (0.999, "1.0 nats"),
        (123.0, "120 nats"),
        (0.0000999, "no effect"),
        (0.0, "no effect"),
        (-1e-9, "no effect"),
    ],
)
def test_an_effect_has_two_digits(nats: float, text: str) -> None:
    assert effect_text(nats) == text


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (AdapterEffect(SHA, 1.2, 32, 32), "effect alone 1.2 nats · 32 of 32 tensors used"),
        (AdapterEffect(SHA, 1.2, 32, None), "effect alone 1.2 nats"),
        (AdapterEffect(SHA, 0.0, 32, 0), "no effect · 0 of 32 tensors used"),
    ],
)
def test_what_an_adapter_does_alone_is_said_in_two_facts(effect: AdapterEffect, text: str) -> None:
    assert " · ".join(usage_texts(effect)) == text
