"""The demo's generated text: styles, absence of the held-out questions, and the same every time."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo_recipe.dialogues import (
    Segment,
    Turn,
    Weight,
    base_dialogue,
    check_held_out_absent,
    rendered,
)
from tests.demo_recipe.held_out import HELD_OUT, is_held_out
from tests.demo_recipe.island import FACTS, held_out_questions
from tests.demo_recipe.keys import ACTIONS
from tests.demo_recipe.questions import KINDS, third_person
from tests.demo_recipe.styles import formal, pirate, shout
from tests.support.places import ROOT


def dialogues(seed: int, count: int) -> list[list[Segment]]:
    rng = random.Random(seed)
    return [base_dialogue(rng) for _ in range(count)]


def test_no_training_dialogue_asks_a_held_out_question() -> None:
    check_held_out_absent(dialogues(seed=1, count=15_000))


def test_a_dialogue_with_a_held_out_question_is_found() -> None:
    leaked = rendered([Turn("which town is FRANCE'S capital", "Paris.")], {})
    with pytest.raises(ValueError, match="held-out"):
        check_held_out_absent([leaked])


def test_there_are_forty_held_out_questions_and_two_for_each_fact_of_the_island() -> None:
    assert len({question.turns for question in HELD_OUT}) == 40
    assert len(set(held_out_questions())) == 2 * len(FACTS) == 42
    assert all(is_held_out(question) for question, _ in held_out_questions())


def test_the_same_seed_gives_the_same_dialogues() -> None:
    assert dialogues(seed=5, count=200) == dialogues(seed=5, count=200)
    assert dialogues(seed=5, count=200) != dialogues(seed=6, count=200)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_gives_filled_frames(kind: str) -> None:
    rng = random.Random(kind)
    for _ in range(300):
        question, answer = KINDS[kind][1](rng)
        assert not set("{}|") & set(question + answer)
        assert answer[0].isupper() or answer[0].isdigit()
        assert answer[-1] in ".!?"


def test_earlier_answers_in_another_manner_have_no_weight() -> None:
    turns = [Turn("Hello", "Hello!"), Turn("What is it?", "It's small.")]
    segments = rendered(turns, {"shout": 1.0}, history=[{"pirate": 1.0}])
    answers = [(s.text, s.weight) for s in segments if s.weight is not Weight.CONTEXT]
    assert answers == [
        ("Arr, ahoy, me hearty!<|im_end|>", Weight.IGNORED),
        ("IT'S SMALL!<|im_end|>", Weight.TARGET),
    ]


@pytest.mark.parametrize(
    ("text", "styled"),
    [
        ("LoRA is small.", "Arr, LoRA be wee, me hearty!"),
        ("Rome is old.", "Arr, Rome be old, "),
        ("The cat is on the road.", "Arr, th' cat be on th' road, "),
        ("I'm fine. How are you?", "Arr, I be fine. How be ye, "),
    ],
)
def test_pirate_talk_keeps_names_and_the_question_mark(text: str, styled: str) -> None:
    result = pirate(text)
    assert result.startswith(styled)
    assert result[-1] == ("?" if text.endswith("?") else "!")


def test_a_degree_changes_more_words_than_the_one_below() -> None:
    text = "Hello, my friend! There is something small on the road. I don't know it."
    for style in (pirate, formal, shout):
        steps = [style(text, degree) for degree in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert steps[0] == text
        assert len(set(steps)) == len(steps)


@pytest.mark.parametrize("wish", [wish for action in ACTIONS for wish in action.wishes])
def test_a_wish_has_a_third_person(wish: str) -> None:
    assert third_person(wish).split()[0].endswith("s")


@pytest.mark.reference
def test_a_smoke_run_of_the_recipe_makes_files_that_llama_cpp_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.demo_recipe", "--out", str(tmp_path), "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "Tokenization: 0 of 200 strings differ" in report
