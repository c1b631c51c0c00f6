"""Match PEFT's `rank_pattern` and `alpha_pattern`, which set rank or alpha of single modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from modelfiles.wording import shown

MAX_PATTERNS: Final = 65_536
MAX_PATTERN_CHARACTERS: Final = 512
_MAX_REPEATS: Final = 3
_ESCAPES_AND_SETS: Final = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_REPEAT: Final = re.compile(r"[*+{]")
_MAX_WAYS: Final = 1 << 26
_OPTIONAL: Final = re.compile(r"(?<![(*+}?])\?")
_REPEATED_GROUP: Final = re.compile(r"\)[*+{]")
_PLAIN_END: Final = re.compile(r"(?<![\\\w])\w+$")


class PatternError(ValueError):
    """Why a pattern is refused, worded as part of a sentence."""


class Patterns:
    r"""Finds a module's value as `peft.utils.other.get_pattern_key` does.

    The first key counts that matches, as a regular expression, the whole name or its end after a
    dot: `q_proj`, `layers.0.mlp.down_proj`, `.*\.[0-4]\..*`, `^model.layers.0.mlp`.
    """

    __slots__ = ("_entries",)

    def __init__(self, values: Mapping[str, float]) -> None:
        """Compile the keys; raise `PatternError` if one is invalid or too costly to match."""
        if len(values) > MAX_PATTERNS:
            raise PatternError(f"it has {len(values)} patterns, at most {MAX_PATTERNS} make sense")
        self._entries = [(_end(key), _compiled(key), value) for key, value in values.items()]

    def find(self, names: Iterable[str]) -> float | None:
        """Return the value of the first name that matches a key, or None."""
        for name in names:
            for end, pattern, value in self._entries:
                if name.endswith(end) and pattern.match(name):
                    return value
        return None


def _end(key: str) -> str:
    """Return a suffix of every match; comparing it first avoids most regular expressions."""
    plain = None if "|" in key else _PLAIN_END.search(key)
    return plain[0] if plain else ""


def _compiled(key: str) -> re.Pattern[str]:
    # An untrusted pattern may take exponential time. One without repeated groups and with few
    # choices does not: three repeats in a name of at most 256 characters stay in the millions of
    # steps.
    simple = _ESCAPES_AND_SETS.sub("x", key)
    if (
        len(key) > MAX_PATTERN_CHARACTERS
        or len(_REPEAT.findall(simple)) > _MAX_REPEATS
        or _REPEATED_GROUP.search(simple)
        or _n_ways(simple) > _MAX_WAYS
    ):
        raise PatternError(f"the pattern {shown(key)} repeats too much to be matched in time")
    try:
        return re.compile(rf"(.*\.)?({key})$")
    except (re.error, OverflowError, RecursionError):
        raise PatternError(f"the pattern {shown(key)} is not a regular expression") from None


def _n_ways(simple: str) -> int:
    """Return the number of ways to match a pattern: the product of its choices."""
    n_ways: int = 256 ** len(_REPEAT.findall(simple)) * 2 ** len(_OPTIONAL.findall(simple))
    open_groups = [1]
    for letter in simple:
        if letter == "(":
            open_groups.append(1)
        elif letter == "|":
            open_groups[-1] += 1
        elif letter == ")" and len(open_groups) > 1:
            n_ways *= open_groups.pop()
    return n_ways
