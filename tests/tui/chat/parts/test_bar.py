from __future__ import annotations

import pytest

from tui.chat.parts.bar import progress_bar, scale_bar


@pytest.mark.parametrize(
    ("scale", "bar"),
    [
        (0.5, "━━━━────"),
        (1.0, "━━━━━━━━"),
        (0.7, "━━━━━╸──"),
        (0.01, "╸───────"),
        (1.5, "━━━━━━━━"),
        (-0.5, "────━━━━"),
        (-0.06, "───────╺"),
        (-2.0, "━━━━━━━━"),
    ],
)
def test_a_scale_is_drawn_in_half_cells_from_its_side(scale: float, bar: str) -> None:
    assert scale_bar(scale, 8, is_active=True).plain == bar


def test_what_is_beyond_one_and_what_is_negative_has_a_colour_of_its_own() -> None:
    colours = [
        {str(span.style) for span in scale_bar(scale, 8, is_active=True).spans}
        for scale in (1.0, 1.5, -1.0, -1.5)
    ]
    assert "$warning" not in colours[0]
    assert {"$primary", "$warning"} <= colours[1]
    assert {"$secondary"} <= colours[2]
    assert {"$secondary", "$error"} <= colours[3]


def test_an_adapter_that_is_off_has_an_empty_bar() -> None:
    assert scale_bar(0.7, 8, is_active=False).plain == "────────"


@pytest.mark.parametrize(("fraction", "bar"), [(0, "────"), (0.5, "━━──"), (9, "━━━━")])
def test_progress_fills_from_the_left(fraction: float, bar: str) -> None:
    assert progress_bar(fraction, 4).plain == bar
