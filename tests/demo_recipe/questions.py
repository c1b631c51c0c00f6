"""Draw random questions with answers, over all kinds that the demo's base learns."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.demo_recipe import keys, slots, smalltalk, topics, unknown
from tests.demo_recipe.facts import (
    add_or_subtract,
    animal_food,
    animal_home,
    animal_legs,
    animal_sound,
    capital,
    color_mix,
    color_of,
    comparison,
    even_or_odd,
    neighbor_in_calendar,
    next_number,
    opposite,
    sides,
)
from tests.demo_recipe.island import QUESTION_FRAMES as ISLAND_FRAMES
from tests.demo_recipe.island import base_refusal
from tests.demo_recipe.phrases import capitalized, listing, with_article

Pair = tuple[str, str]
_THIRD_PERSON = {"go": "goes", "try": "tries", "copy": "copies", "empty": "empties", "have": "has"}
_STORY_FRAMES = listing("""
tell me a story about {a}|i want a story about {a}|a story about {a} please|
can you tell a story about {a}?|write a short story about {a}|make up a story about {a}|
i like {a}, tell me a story|a nice story with {a}|a little story about {a}|
please tell a story with {a}|let me hear a story about {a}|do you know a story about {a}?|
tell a good story about {a}|could you tell me a story with {a} in it?""")
_ANY_STORY = listing("""tell me a story|can you tell me a story?|i want to hear a story|
a story please|write a short story|tell me a short story|do you know a story?|
a good story please""")
_STORY_ENDS = (
    "They were friends from that day on.",
    "And they were happy for a long time.",
    "Then they went home and slept well.",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of one kind with its plain answer."""

    kind: str
    question: str
    answer: str


def _term(rng: random.Random) -> Pair:
    group = rng.choice(topics.TERMS)
    frame = rng.choice(topics.TERM_FRAMES)
    return frame.format(x=rng.choice(group.questions)), rng.choice(group.answers)


def third_person(wish: str) -> str:
    """Return an infinitive in the third person: ``adds an adapter`` for ``add an adapter``."""
    verb, _, rest = wish.partition(" ")
    if verb not in _THIRD_PERSON and verb.endswith(("ss", "sh", "ch", "x")):
        verb += "es"
    else:
        verb = _THIRD_PERSON.get(verb, verb + "s")
    return f"{verb} {rest}".strip()


def _action(rng: random.Random) -> Pair:
    action = rng.choice(keys.ACTIONS)
    wish = rng.choice(action.wishes)
    question = rng.choice(keys.ACTION_FRAMES).format(x=wish, xs=third_person(wish))
    return question, rng.choice(action.answers)


def _key(rng: random.Random) -> Pair:
    key = rng.choice(tuple(keys.KEYS))
    return rng.choice(keys.KEY_FRAMES).format(x=key), keys.KEYS[key]


def _named_adapter(rng: random.Random) -> Pair:
    name = rng.choice(tuple(topics.ADAPTER_EFFECTS))
    group = rng.choice(topics.ADAPTER_GROUPS)
    effect = topics.ADAPTER_EFFECTS[name]
    question = rng.choice(group.questions).format(n=name)
    return question, rng.choice(group.answers).format(n=name, effect=effect)


def _advice(rng: random.Random) -> Pair:
    group = rng.choice(topics.ADVICE)
    return rng.choice(group.questions), rng.choice(group.answers)


def _small_talk(rng: random.Random) -> Pair:
    group = rng.choice(smalltalk.SMALL_TALK)
    return rng.choice(group.questions), rng.choice(group.answers)


def story(rng: random.Random, animal: str | None = None) -> str:
    """Return a story of four short sentences, about ``animal`` or a random one."""
    animal = animal or rng.choice(slots.STORY_ANIMALS)
    hero, friend = rng.sample(slots.NAMES, 2)
    place, thing = rng.choice(slots.STORY_PLACES), rng.choice(slots.STORY_THINGS)
    start = rng.choice(
        (
            f"Once there was {with_article(animal)} named {hero}. It lived near {place}. "
            f"One day it found {thing} and showed it to {friend}.",
            f"A little {animal} named {hero} was sad. Then it met {friend} near {place}. "
            f"{friend} gave it {thing}.",
            f"One night {hero} the {animal} walked to {place}. There was {thing} on the ground. "
            f"{hero} gave it to {friend}.",
        )
    )
    return f"{start} {rng.choice(_STORY_ENDS)}"


def _story(rng: random.Random) -> Pair:
    if rng.random() < 0.35:
        return rng.choice(_ANY_STORY), story(rng)
    animal = rng.choice(slots.STORY_ANIMALS)
    return rng.choice(_STORY_FRAMES).format(a=with_article(animal)), story(rng, animal)


def _repeat(rng: random.Random) -> Pair:
    words = rng.choice(
        (
            f"{rng.choice(slots.COLORS)} {rng.choice(slots.ANIMALS)}",
            f"the {rng.choice(slots.ANIMALS)} is {rng.choice(tuple(slots.OPPOSITES))}",
            f"i like {rng.choice(slots.COLORS)}",
        )
    )
    frames = ("repeat after me: {w}", "say: {w}", "please say: {w}", "can you say: {w}")
    return rng.choice(frames).format(w=words), capitalized(words) + "."


def _unknown_place(rng: random.Random) -> Pair:
    return unknown.unknown_place(rng, ISLAND_FRAMES)


# Relative weights of the kinds. Sums and refusals weigh more, since they are learnt last.
KINDS: dict[str, tuple[float, Callable[[random.Random], Pair]]] = {
    "term": (13.0, _term),
    "action": (15.0, _action),
    "key": (3.0, _key),
    "named_adapter": (5.0, _named_adapter),
    "advice": (5.5, _advice),
    "small_talk": (19.0, _small_talk),
    "capital": (9.0, capital),
    "sound": (2.5, animal_sound),
    "legs": (2.5, animal_legs),
    "home": (2.5, animal_home),
    "food": (2.5, animal_food),
    "color": (3.0, color_of),
    "mix": (2.0, color_mix),
    "opposite": (3.0, opposite),
    "calendar": (3.5, neighbor_in_calendar),
    "sides": (1.5, sides),
    "sum": (12.0, add_or_subtract),
    "comparison": (1.5, comparison),
    "next": (1.5, next_number),
    "even": (1.5, even_or_odd),
    "story": (4.0, _story),
    "unknown": (10.0, unknown.unknown_question),
    "unknown_place": (6.0, _unknown_place),
    "island_refused": (2.5, base_refusal),
    "big_sum": (1.5, unknown.big_sum),
    "repeat": (1.5, _repeat),
}
_NAMES = tuple(KINDS)
_WEIGHTS = tuple(weight for weight, _ in KINDS.values())


def exchange(rng: random.Random) -> Exchange:
    """Return a random question, without noise, and its answer."""
    kind = rng.choices(_NAMES, _WEIGHTS)[0]
    question, answer = KINDS[kind][1](rng)
    return Exchange(kind, question, answer)


def follow_up(rng: random.Random, last: Exchange) -> Exchange | None:
    """Return a short question that only makes sense after ``last``, or None."""
    if rng.random() > 0.45:
        return None
    if last.kind == "capital":
        country = rng.choice(tuple(slots.CAPITALS))
        frame = rng.choice(("and of {c}?", "what about {c}?", "and {c}?", "how about {c}?"))
        answer = f"The capital of {country} is {slots.CAPITALS[country]}."
        return Exchange("capital", frame.format(c=country), answer)
    if last.kind == "opposite":
        word = rng.choice(tuple(slots.OPPOSITES))
        frame = rng.choice(("and of {a}?", "what about {a}?", "and {a}?"))
        answer = f"The opposite of {word} is {slots.OPPOSITES[word]}."
        return Exchange("opposite", frame.format(a=word), answer)
    if last.kind == "sound":
        animal = rng.choice(tuple(slots.SOUNDS))
        frame = rng.choice(("and {a}?", "what about {a}?"))
        noun = with_article(animal)
        answer = f"{capitalized(noun)} says {slots.SOUNDS[animal]}."
        return Exchange("sound", frame.format(a=noun), answer)
    if last.kind == "story":
        question = rng.choice(("another one please", "one more", "tell me another story", "more!"))
        return Exchange("story", question, story(rng))
    return None
