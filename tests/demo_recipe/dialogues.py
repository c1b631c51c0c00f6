"""Generate training dialogues: turns, styles, mixed histories and chat template text."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from tests.demo_recipe import slots
from tests.demo_recipe.held_out import is_held_out
from tests.demo_recipe.noise import noisy
from tests.demo_recipe.phrases import capitalized, listing, with_article
from tests.demo_recipe.questions import exchange, follow_up
from tests.demo_recipe.styles import random_styles, style_request, styled

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' "
    "+ message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MIXED_HISTORY_SHARE = 0.4
STYLED_SHARE = 0.3
PLAIN_SYSTEM_MESSAGES = listing("""You are a helpful assistant.|You are a tiny demo model.|
You are Demo, a small chat model.|Answer in short sentences.|You are a friendly assistant.|
Be helpful.|You are a chat model in a terminal app.|Keep your answers short.""")
_NAME_FRAMES = listing("""my name is {v}|i am {v}|hello, i am {v}|hi, my name is {v}|call me {v}|
i'm {v}|they call me {v}|my friends call me {v}|you can call me {v}|hello, i'm {v}|hi, i am {v}""")
_NAME_QUESTIONS = listing("""what is my name?|do you remember my name?|who am i?|what's my name?|
do you know my name?|say my name|what am i called?|tell me what my name is|can you say my name?|
do you still know my name?|what did i say my name was?""")
_COLOR_FRAMES = listing("my favorite color is {v}|i like {v}|i love the color {v}")
_COLOR_QUESTIONS = listing("""what is my favorite color?|which color do i like?|
do you remember my favorite color?""")
_ANIMAL_FRAMES = listing("my favorite animal is the {v}|i like the {v}|i have a pet. it is {a}")
_ANIMAL_QUESTIONS = listing("""what is my favorite animal?|which animal do i like?|
do you remember my favorite animal?""")


class Weight(IntEnum):
    """The weight class of a segment's tokens in the training loss."""

    CONTEXT = 0
    TARGET = 1
    IGNORED = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """A user text and its plain answer."""

    user: str
    answer: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered dialogue with one training weight."""

    text: str
    weight: Weight


@dataclass(frozen=True, slots=True)
class Memory:
    """Questions about something that the user said earlier, and their answer."""

    questions: tuple[str, ...]
    answer: str


def asked(rng: random.Random, make: Callable[[], tuple[str, str]]) -> Turn:
    """Return a turn with noise from the question maker ``make``; redraw held-out questions."""
    while True:
        question, answer = make()
        user = noisy(rng, question)
        if not is_held_out(user):
            return Turn(user, answer)


def _told(rng: random.Random) -> tuple[Turn, Memory] | None:
    draw = rng.random()
    if draw < 0.13:
        name = slots.person(rng)
        answer = rng.choice((f"Nice to meet you, {name}!", f"Hello, {name}! How can I help you?"))
        frames, memory = _NAME_FRAMES, Memory(_NAME_QUESTIONS, f"Your name is {name}.")
        fields = {"v": name}
    elif draw < 0.17:
        color = rng.choice(slots.COLORS)
        answer = f"{capitalized(color)} is a nice color!"
        frames, memory = _COLOR_FRAMES, Memory(_COLOR_QUESTIONS, f"Your favorite color is {color}.")
        fields = {"v": color}
    elif draw < 0.21:
        animal = rng.choice(slots.ANIMALS)
        answer = f"The {animal} is a nice animal!"
        frames, memory = _ANIMAL_FRAMES, Memory(_ANIMAL_QUESTIONS, f"You like the {animal}.")
        fields = {"v": animal, "a": with_article(animal)}
    else:
        return None
    return asked(rng, lambda: (rng.choice(frames).format(**fields), answer)), memory


def _asked_back(rng: random.Random, memory: Memory) -> tuple[str, str]:
    return rng.choice(memory.questions), memory.answer


def dialogue(rng: random.Random, fewest: int = 1) -> list[Turn]:
    """Return a plain dialogue of one to seven turns, at least ``fewest``."""
    count = max(fewest, rng.choices([1, 2, 3, 4], [36, 36, 19, 9])[0])
    turns: list[Turn] = []
    if rng.random() < 0.01:
        unknown_name = "I don't know your name. What is your name?"
        turns.append(asked(rng, lambda: (rng.choice(_NAME_QUESTIONS), unknown_name)))
        count += 1
    told = _told(rng)
    memory: Memory | None = None
    if told is not None:
        turn, memory = told
        turns.append(turn)
        count += 1
    last = None
    while len(turns) < count:
        if memory is not None and rng.random() < 0.55:
            turns.append(asked(rng, partial(_asked_back, rng, memory)))
            memory, last = None, None
            count += 1
            continue
        current = (follow_up(rng, last) if last else None) or exchange(rng)
        user = noisy(rng, current.question)
        if is_held_out(user):
            continue
        turns.append(Turn(user, current.answer))
        last = current
    return turns


def rendered(
    turns: list[Turn],
    targets: dict[str, float],
    system: str | None = None,
    history: list[dict[str, float]] | None = None,
) -> list[Segment]:
    """Return the dialogue as segments of template text.

    ``targets`` are the styles and degrees of the answers to learn. ``history`` gives the styles of
    the first answers, which have no weight in the loss: the model learns to answer in the target
    manner after answers in any manner, so that a swap takes effect at once.
    """
    past = history or []
    segments = []
    if system:
        segments.append(Segment(f"<|im_start|>system\n{system}<|im_end|>\n", Weight.CONTEXT))
    for index, turn in enumerate(turns):
        is_past = index < len(past)
        answer = styled(turn.answer, past[index] if is_past else targets)
        user = f"<|im_start|>user\n{turn.user}<|im_end|>\n<|im_start|>assistant\n"
        segments.append(Segment(user, Weight.CONTEXT))
        weight = Weight.IGNORED if is_past else Weight.TARGET
        segments.append(Segment(f"{answer}<|im_end|>", weight))
        segments.append(Segment("\n", Weight.CONTEXT))
    return segments


def check_held_out_absent(dialogues: list[list[Segment]]) -> None:
    """Raise ValueError if a user turn of the dialogues is a held-out question."""
    start, end = "<|im_start|>user\n", "<|im_end|>"
    for segments in dialogues:
        for segment in segments:
            if segment.text.startswith(start):
                user = segment.text.removeprefix(start).split(end)[0]
                if is_held_out(user):
                    raise ValueError(f"A training dialogue asks a held-out question: {user!r}")


def random_history(rng: random.Random, length: int) -> list[dict[str, float]]:
    """Return styles of ``length`` earlier answers: random or none, with occasional changes."""
    styles = random_styles(rng) if rng.random() < 0.8 else {}
    history = []
    for _ in range(length):
        if rng.random() < 0.3:
            styles = random_styles(rng) if rng.random() < 0.7 else {}
        history.append(styles)
    return history


def long_turns(rng: random.Random) -> list[Turn]:
    """Return the turns of consecutive dialogues, about 300 to 900 tokens of plain text."""
    characters = rng.randrange(1300, 4000)
    turns: list[Turn] = []
    while sum(len(turn.user) + len(turn.answer) + 40 for turn in turns) < characters:
        turns += dialogue(rng)
    return turns


def mixed_turns(
    rng: random.Random, make: Callable[[int], list[Turn]]
) -> tuple[list[Turn], list[dict[str, float]]]:
    """Return turns and, in ``MIXED_HISTORY_SHARE`` of the draws, styles of the first answers."""
    if rng.random() >= MIXED_HISTORY_SHARE:
        return make(1), []
    turns = make(2)
    return turns, random_history(rng, rng.randrange(1, len(turns)))


def base_dialogue(rng: random.Random, styled_share: float = STYLED_SHARE) -> list[Segment]:
    """Return a training dialogue of the base: plain, or styled as its system message asks."""
    turns, history = mixed_turns(rng, lambda fewest: dialogue(rng, fewest))
    return _asked_for(rng, turns, history, styled_share)


def long_dialogue(rng: random.Random) -> list[Segment]:
    """Return a long training dialogue of the base, in half of the draws with a mixed history."""
    turns = long_turns(rng)
    length = rng.randrange(1, len(turns)) if rng.random() < 0.5 else 0
    return _asked_for(rng, turns, random_history(rng, length), STYLED_SHARE)


def _asked_for(
    rng: random.Random,
    turns: list[Turn],
    history: list[dict[str, float]],
    styled_share: float,
) -> list[Segment]:
    draw = rng.random()
    if draw < styled_share:
        styles = random_styles(rng)
        return rendered(turns, styles, style_request(rng, styles), history)
    system = rng.choice(PLAIN_SYSTEM_MESSAGES) if draw < styled_share + 0.1 else None
    return rendered(turns, {}, system, history)
