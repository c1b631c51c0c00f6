"""Thoughts are kept apart from the answer, wherever the pieces of the output are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.answer.thoughts import ThoughtSplitter
from modelfiles.template.thoughts import ThoughtTags


def split(pieces: list[str], *, is_open: bool = False) -> tuple[str, str]:
    """Return the whole thought and the whole answer."""
    splitter = ThoughtSplitter(is_open=is_open)
    parts = [*(splitter.push(piece) for piece in pieces), splitter.finish()]
    return "".join(part.thinking for part in parts), "".join(part.text for part in parts)


OUTPUTS = [
    ("<think>\nHm, well.\n</think>\n\nYes.", ("Hm, well.", "Yes.")),
    (" \n<think>a</think>b", ("a", "b")),
    ("<think>\n\n</think>\n\nYes.", ("", "Yes.")),
    ("<think>never closed", ("never closed", "")),
    ("<think>almost </thin", ("almost </thin", "")),
    ("<think>a < b </ c\n\nd</think>e", ("a < b </ c\n\nd", "e")),
    ("<think>a</think>b <think>c</think>", ("a", "b <think>c</think>")),
    ("  Yes, <think> is a tag.", ("", "  Yes, <think> is a tag.")),
    ("<thin", ("", "<thin")),
    ("<thinking>", ("", "<thinking>")),
    ("  \n", ("", "  \n")),
    ("", ("", "")),
]


@pytest.mark.parametrize(("output", "expected"), OUTPUTS)
def test_a_thought_stands_at_the_beginning_only(output: str, expected: tuple[str, str]) -> None:
    assert split([output]) == expected
    assert split(list(output)) == expected


@given(
    output=st.sampled_from([output for output, _ in OUTPUTS]),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    is_open=st.booleans(),
)
def test_where_the_pieces_are_cut_changes_nothing(
    output: str, cuts: list[int], is_open: bool
) -> None:
    ends = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    pieces = [output[start:end] for start, end in pairwise(ends)]
    assert split(pieces, is_open=is_open) == split([output], is_open=is_open)


def test_a_prompt_may_have_opened_the_thought_already() -> None:
    assert split(["\nHm.", "\n</th", "ink>\nYes."], is_open=True) == ("Hm.", "Yes.")
    assert split(["Hm."], is_open=True) == ("Hm.", "")


def test_a_thought_is_shown_while_it_goes_on() -> None:
    splitter = ThoughtSplitter()
    assert splitter.push("<think>").thinking == ""
    assert splitter.is_thinking
    assert splitter.push("Hm, ").thinking == "Hm,"
    assert splitter.push("well").thinking == " well"
    assert splitter.push("</think>").thinking == ""
    assert not splitter.is_thinking
    assert splitter.push("\n\nYes.").text == "Yes."


def test_other_models_have_other_tags() -> None:
    splitter = ThoughtSplitter(ThoughtTags("[THINK]", "[/THINK]"))
    whole = splitter.push("[THINK]Hm.[/THINK]Yes.")
    assert (whole.thinking, whole.text) == ("Hm.", "Yes.")
