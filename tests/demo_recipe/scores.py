"""Score the demo's GGUF files: answers, manners, stacks, leaks after a swap, and the island."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.demo_recipe import slots
from tests.demo_recipe.greedy import MAX_TOKENS, N_CTX, GreedyModel
from tests.demo_recipe.held_out import HELD_OUT, STYLE_PROMPTS, Question
from tests.demo_recipe.island import held_out_questions
from tests.demo_recipe.markers import MARKERS
from tests.demo_recipe.styles import STYLE_ORDER, styled

CURVE_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
LENGTH_STEP = 200
PAIRS = (("pirate", "shout"), ("pirate", "formal"), ("formal", "shout"))
_REFUSAL = re.compile(r"don't know|do not know", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MannerScore:
    """Mean marker of each manner, and the share of answers with the right content, 0 to 1."""

    markers: dict[str, float]
    content: float


@dataclass(frozen=True, slots=True)
class IslandScore:
    """Shares, 0 to 1, of the island's held-out questions answered right, and refused."""

    right: float
    refused: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A held-out question, its answer, and whether the answer has the expected content."""

    question: Question
    answer: str
    is_right: bool


def held_out_answers(model: GreedyModel) -> list[Answered]:
    """Ask the bare base the held-out questions, each in its own chat."""
    found = []
    for question in HELD_OUT:
        turns: list[str] = []
        answer = ""
        for user in question.turns:
            turns.append(user)
            answer = model.answer(turns)
            turns.append(answer)
        found.append(Answered(question, answer, question.is_answered_by(answer)))
    return found


def manner_score(
    model: GreedyModel, scales: Mapping[str, float], prompts: Sequence[Question] = STYLE_PROMPTS
) -> MannerScore:
    """Score the answers to the prompts under a stack of adapters."""
    with model.stacked(scales):
        answers = [model.answer([prompt.turns[0]]) for prompt in prompts]
    right = [prompt.is_answered_by(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    return MannerScore(mean_markers(answers), sum(right) / len(right))


def mean_markers(answers: Sequence[str]) -> dict[str, float]:
    """Return the mean marker of each manner over the answers."""
    return {
        name: sum(map(marker, answers)) / max(1, len(answers)) for name, marker in MARKERS.items()
    }


def after_history(
    model: GreedyModel, manner: str, turns: int, scales: Mapping[str, float], chats: int = 12
) -> dict[str, float]:
    """Score the next answer after earlier answers in another manner.

    Each chat has ``turns`` earlier answers, written in ``manner`` by its transform, and then one
    answer under ``scales``. Returns the mean marker of each manner over ``chats`` chats.
    """
    answers = []
    for chat in range(chats):
        messages: list[str] = []
        for turn in range(turns):
            prompt = STYLE_PROMPTS[(chat + 5 * turn) % len(STYLE_PROMPTS)].turns[0]
            messages.append(prompt)
            messages.append(styled(model.answer([prompt]), {manner: 1.0}))
        messages.append(STYLE_PROMPTS[(chat + 7 * turns) % len(STYLE_PROMPTS)].turns[0])
        with model.stacked(scales):
            answers.append(model.answer(messages))
    return mean_markers(answers)


def island_score(model: GreedyModel, scales: Mapping[str, float]) -> IslandScore:
    """Ask the island's held-out questions under a stack of adapters."""
    questions = held_out_questions()
    with model.stacked(scales):
        answers = [model.answer([question]) for question, _ in questions]
    right = sum(key in answer.lower() for (_, key), answer in zip(questions, answers, strict=True))
    refused = sum(_REFUSAL.search(answer) is not None for answer in answers)
    return IslandScore(right / len(questions), refused / len(questions))


def trained_sums(model: GreedyModel) -> tuple[int, int]:
    """Return the number of right answers to "What is A plus B?" for 0 to 12, and the total."""
    right = 0
    for a in range(13):
        for b in range(13):
            answer = model.answer([f"What is {a} plus {b}?"])
            right += re.search(rf"\bis {a + b}\b", answer) is not None
    return right, 169


def trained_capitals(model: GreedyModel) -> tuple[int, int]:
    """Return the number of right capitals of the corpus's countries, and the total."""
    right = sum(
        city in model.answer([f"What is the capital of {country}?"])
        for country, city in slots.CAPITALS.items()
    )
    return right, len(slots.CAPITALS)


def unknown_places_refused(model: GreedyModel) -> tuple[int, int]:
    """Return the number of refusals for places that the corpus never names, and the total."""
    places = (
        "Narnia",
        "Gondor",
        "Switzerland",
        "Jordan",
        "Ohio",
        "Atlantis",
        "Estonia",
        "Ghana",
        "Zamunda",
        "Hogwarts",
    )
    refused = sum(
        _REFUSAL.search(model.answer([f"What is the capital of {place}?"])) is not None
        for place in places
    )
    return refused, len(places)


def long_chats(model: GreedyModel, chats: int = 4) -> dict[int, tuple[int, int]]:
    """Score the bare base in long chats, by the length of the prompt.

    Returns, by the lower bound of each range of ``LENGTH_STEP`` tokens, the number of right
    answers and the total.
    """
    counts: dict[int, tuple[int, int]] = {}
    for seed in range(chats):
        prompts = random.Random(seed).sample(STYLE_PROMPTS, len(STYLE_PROMPTS))
        turns: list[str] = []
        for prompt in prompts:
            turns.append(prompt.turns[0])
            length = model.prompt_length(turns)
            if length > N_CTX - MAX_TOKENS:
                break
            turns.append(model.answer(turns))
            start = length // LENGTH_STEP * LENGTH_STEP
            right, total = counts.get(start, (0, 0))
            counts[start] = (right + prompt.is_answered_by(turns[-1]), total + 1)
    return dict(sorted(counts.items()))


def other_manners(manner: str) -> tuple[str, ...]:
    """Return the manners other than ``manner``, in the order of their application."""
    return tuple(name for name in STYLE_ORDER if name != manner)
