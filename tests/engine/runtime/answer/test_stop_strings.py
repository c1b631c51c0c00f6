"""Streamed text holds whole characters and never a part of a stop string."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.answer.stop_strings import TextStream

SMALL = st.text(alphabet="ab<|é☃", max_size=30)
STOPS = st.lists(st.text(alphabet="ab<|é", min_size=1, max_size=4), max_size=3)


def stream(pieces: list[bytes], stops: list[str]) -> list[str]:
    text = TextStream(stops)
    return [*[text.push(piece) for piece in pieces], text.finish()]


@given(SMALL, STOPS, st.data())
def test_however_it_is_cut_the_text_ends_before_the_first_stop(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    raw = text.encode()
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8).map(sorted))
    edges = [0, *cuts, len(raw)]
    shown = stream([raw[a:b] for a, b in itertools.pairwise(edges)], stops)
    ends = [text.find(stop) for stop in stops if stop in text]
    assert "".join(shown) == text[: min(ends, default=len(text))]


def test_the_beginning_of_a_stop_string_is_never_shown() -> None:
    shown = stream([b"Hi <", b"|im_", b"end|>", b"more"], ["<|im_end|>"])
    assert shown == ["Hi ", "", "", "", ""]


def test_text_held_back_appears_when_it_turns_out_to_be_text() -> None:
    assert stream([b"a <", b"b"], ["<|im_end|>"]) == ["a ", "<b", ""]
    assert stream([b"a <"], ["<|im_end|>"]) == ["a ", "<"]


def test_a_character_is_shown_once_all_its_bytes_are_there() -> None:
    snowman = "☃".encode()
    assert stream([snowman[:1], snowman[1:2], snowman[2:]], []) == ["", "", "☃", ""]


def test_an_unfinished_character_at_the_end_is_marked() -> None:
    assert stream([b"a", "☃".encode()[:2]], []) == ["a", "", "\ufffd"]


def test_nothing_follows_a_stop() -> None:
    text = TextStream(["STOP"])
    assert text.push(b"one STOP two") == "one "
    assert text.is_stopped
    assert text.push(b"three") == ""
    assert text.finish() == ""
