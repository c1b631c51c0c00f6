"""An answer that repeats one short piece ends; lists, tables and code go on."""

from __future__ import annotations

import pytest

from engine.runtime.answer.repetition import MAX_PIECE, RepetitionGuard
from modelfiles.parameters import DEFAULTS


def ending(tokens: list[int], limit: int = 40) -> int | None:
    """Return after how many tokens the guard ends an answer; None if it lets it go on."""
    guard = RepetitionGuard(limit)
    return next((n for n, token in enumerate(tokens, 1) if guard.ends(token)), None)


@pytest.mark.parametrize("length", [1, 2, 7, MAX_PIECE])
def test_a_piece_repeated_to_the_limit_ends_the_answer(length: int) -> None:
    start, piece = [900, 901, 902], list(range(length))
    assert ending(start + piece * 100) == len(start) + length + 40


def test_a_longer_piece_is_no_repetition() -> None:
    assert ending(list(range(MAX_PIECE + 1)) * 50) is None


def test_an_interruption_begins_anew() -> None:
    assert ending(([5] * 39 + [6]) * 20) is None
    assert ending([5] * 39 + [6] + [5] * 41) == 39 + 1 + 41


def test_a_limit_of_zero_is_none() -> None:
    assert ending([5] * 10_000, limit=0) is None


def test_counted_lines_are_lawful() -> None:
    """Every line differs by its number, as in lists, tables and unrolled code."""
    lines = [token for n in range(300) for token in (10, 1000 + n, 11, 12, 13)]
    assert ending(lines, limit=20) is None


def test_a_hundred_equal_cells_are_lawful_by_default() -> None:
    assert DEFAULTS.repeat_limit is not None
    assert ending([7, 8] * 100, limit=DEFAULTS.repeat_limit) is None
