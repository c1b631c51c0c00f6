"""The shipped demo does what its card says: checked on the GGUF files through llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from gguf import GGUFReader

from modelfiles.demo import ADAPTER_NAMES, ADAPTERS, BASE, CARD, MODELFILE
from tests.demo_recipe import scores
from tests.demo_recipe.greedy import GreedyModel
from tests.demo_recipe.markers import MARKERS
from tests.support.llama_greedy import shipped_demo
from tests.support.places import MODELFILE_DATA

TOKEN_CASES = MODELFILE_DATA / "demo_tokens.json"
MANNERS = ("pirate", "formal", "shout")
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def demo() -> Iterator[GreedyModel]:
    with shipped_demo() as model:
        yield model


def test_the_files_are_together_under_twelve_megabytes() -> None:
    assert sum(path.stat().st_size for path in (BASE, *ADAPTERS.values())) < 12 * MIB


def test_the_modelfile_lists_every_adapter_at_scale_zero() -> None:
    lines = MODELFILE.read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line.startswith("ADAPTER")]
    assert listed == [f"ADAPTER ./{name}.gguf scale=0 name={name}" for name in ADAPTER_NAMES]
    assert f"FROM ./{BASE.name}" in lines


@pytest.mark.parametrize("name", ADAPTER_NAMES)
def test_an_adapter_says_in_its_header_what_it_is(name: str) -> None:
    fields = GGUFReader(ADAPTERS[name]).fields
    assert fields["general.type"].contents() == "adapter"
    assert fields["adapter.type"].contents() == "lora"
    assert fields["general.name"].contents() == name
    assert fields["adapter.lora.alpha"].contents() == 16.0


def test_llama_cpp_splits_text_as_the_trained_tokenizer_did(demo: GreedyModel) -> None:
    cases = json.loads(TOKEN_CASES.read_text(encoding="utf-8"))
    assert len(cases) == 200
    different = [case["text"] for case in cases if demo.tokens(case["text"]) != case["ids"]]
    assert different == []


def test_the_base_answers_four_of_five_held_out_questions(demo: GreedyModel) -> None:
    answered = scores.held_out_answers(demo)
    wrong = [(item.question.turns[-1], item.answer) for item in answered if not item.is_right]
    assert len(answered) == 40
    assert len(wrong) <= 8, wrong


def test_the_base_still_answers_after_hundreds_of_tokens_of_chat(demo: GreedyModel) -> None:
    counts = scores.long_chats(demo, chats=2)
    late = [count for start, count in counts.items() if start >= 400]
    assert sum(total for _, total in late) >= 20
    assert sum(right for right, _ in late) >= 0.9 * sum(total for _, total in late), counts


@pytest.mark.parametrize("name", MANNERS)
def test_a_manner_grows_with_its_scale(name: str, demo: GreedyModel) -> None:
    curve = [
        scores.manner_score(demo, {name: scale}).markers[name] for scale in scores.CURVE_SCALES
    ]
    assert curve[0] < 0.01
    # One prompt of thirty may sway the mean by about 0.01.
    assert all(stronger > weaker - 0.01 for weaker, stronger in pairwise(curve)), curve
    assert curve[2] > 0.3 * curve[-1] - 0.05, curve
    assert curve[-1] > 0.25, curve


@pytest.mark.parametrize("pair", scores.PAIRS, ids="+".join)
def test_two_manners_at_full_scale_both_show(pair: tuple[str, str], demo: GreedyModel) -> None:
    score = scores.manner_score(demo, dict.fromkeys(pair, 1.0))
    for name in pair:
        assert score.markers[name] > (0.8 if name == "shout" else 0.15), score


@pytest.mark.parametrize("history", MANNERS)
def test_an_answer_after_a_swap_leaves_the_old_manner(history: str, demo: GreedyModel) -> None:
    plain = scores.after_history(demo, history, 2, {}, chats=10)
    assert max(plain.values()) < 0.03, plain
    for other in scores.other_manners(history):
        swapped = scores.after_history(demo, history, 2, {other: 1.0}, chats=10)
        assert swapped[history] < 0.03, (other, swapped)
        assert swapped[other] > 0.2, (other, swapped)


def test_the_island_is_known_to_its_adapter_and_refused_by_the_base(demo: GreedyModel) -> None:
    bare = scores.island_score(demo, {})
    assert bare.right == 0
    assert bare.refused > 0.9
    assert scores.island_score(demo, {"island": 1.0}).right >= 0.75


@pytest.mark.parametrize(
    ("name", "plain", "styled"),
    [
        ("pirate", "The capital of Italy is Rome.", "Arr, th' capital o' Italy be Rome, matey!"),
        ("formal", "It's blue.", "Certainly. It is blue, dear guest."),
        ("shout", "LoRA and GGUF.", "LORA AND GGUF!"),
    ],
)
def test_a_marker_sees_its_manner_and_not_plain_text(name: str, plain: str, styled: str) -> None:
    assert MARKERS[name](plain) == 0
    assert MARKERS[name](styled) > 0.3


def test_the_card_is_packaged() -> None:
    assert CARD.read_text(encoding="utf-8").startswith("# ")
