from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.text.sanitize import printable, printable_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nnext", "plain\ttext\nnext"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]52;c;aGk=\x07", "]52;c;aGk="),
        ("\x9b2J", "2J"),
        ("bell\x07 null\x00 del\x7f", "bell null del"),
        ("line\r\nline", "line\nline"),
        ("user\u202eexe.txt", "userexe.txt"),
        ("\u2066isolate\u2069", "isolate"),
        ("one\u2028two", "one\ntwo"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("naïve 日本語 👍🏽 \u200d", "naïve 日本語 👍🏽 \u200d"),
    ],
)
def test_only_what_can_be_shown_is_kept(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    left = {char for char in printable(text) if unicodedata.category(char) in ("Cc", "Cs")}
    assert left <= {"\n", "\t"}


@given(st.lists(st.text()))
def test_cleaning_fragments_is_cleaning_the_whole(fragments: list[str]) -> None:
    assert "".join(map(printable, fragments)) == printable("".join(fragments))


def test_a_line_has_no_line_breaks() -> None:
    assert printable_line(" a\n\tb\x1b  c ") == "a b c"
