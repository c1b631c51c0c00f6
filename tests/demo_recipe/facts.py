"""Draw questions and answers about capitals, animals, colors, words, days and small numbers."""

from __future__ import annotations

import random

from tests.demo_recipe import slots
from tests.demo_recipe.phrases import capitalized, listing, with_article

Pair = tuple[str, str]

_CAPITAL_FRAMES = listing("""
what is the capital of {c}?|capital of {c}?|tell me the capital of {c}|
which city is the capital of {c}?|do you know the capital of {c}?|what's the capital of {c}|
name the capital of {c}|and the capital of {c}?|{c}'s capital?|what is the capital city of {c}?|
i need the capital of {c}|can you tell me the capital of {c}?|and what is the capital of {c}?|
the capital of {c} please|which town is the capital of {c}?|what is {c}'s capital?|
{c} has which capital?|name {c}'s capital|i am looking for the capital of {c}|
the capital city of {c}?|what city do you call the capital of {c}?|for {c}, what is the capital?|
is there a capital of {c}?|which city is {c}'s capital?|i don't remember the capital of {c}|
tell me {c}'s capital|the capital of {c}, do you know it?|what town is {c}'s capital city?""")
_COUNTRY_FRAMES = listing("""which country has the capital {v}?|
{v} is the capital of which country?|
where is {v}?|in which country is {v}?|what country is {v} in?""")
_SOUND_FRAMES = listing("""what does {a} say?|what sound does {a} make?|which sound does {a} make?|
how does {a} sound?|what noise does {a} make?|tell me the sound of {a}|what do {p} say?|
which noise do {p} make?|what sound do {p} make?|{p} make what sound?|{p} say what?|
what is the noise of {a}?|the sound of {p}?|{a} makes which sound?""")
_LEGS_FRAMES = listing("""how many legs does {a} have?|how many legs has {a}?|
number of legs of {a}?|
tell me how many legs {a} has|does {a} have legs?|how many legs do {p} have?|count the legs of {a}|
legs of {a}?|{p} have how many legs?|what is the number of legs of {a}?|how many legs for {a}?""")
_HOME_FRAMES = listing("""where does {a} live?|what is the home of {a}?|where can i find {a}?|
in which place does {a} live?|tell me where {a} lives|where do {p} live?|
what is the place where {p} live?|where would i see {a}?|{p} live in which place?|
{a} lives where?|where is the home of {p}?""")
_FOOD_FRAMES = listing("""what does {a} eat?|what is the food of {a}?|what do you feed {a}?|
what does {a} like to eat?|tell me what {a} eats|what do {p} eat?|food for {a}?|
what food do {p} like?|{p} eat what?|{a} eats what?|what can i feed {p}?|
what do {p} like to eat?""")
_COLOR_FRAMES = listing("""what color is {o}?|which color does {o} have?|tell me the color of {o}|
what is the color of {o}?|color of {o}?|do you know the color of {o}?|what is {o}'s color?|
is {o} red or blue?|{o}, which color is it?|what color does {o} have?|{o} has what color?|
{o} is what color?""")
_MIX_FRAMES = listing("""what do you get when you mix {a} and {b}?|mix {a} and {b}|
which color is {a} and {b} together?|what happens if i mix {a} with {b}?|{a} and {b} together?|
if you mix {a} and {b}, what do you get?|{a} with {b} gives what?|what do {a} and {b} make?|
{a} mixed with {b} is what?|which color do {a} and {b} make?""")
_OPPOSITE_FRAMES = listing("""what is the opposite of {a}?|opposite of {a}?|
tell me the opposite of {a}|what's the opposite of {a}|which word is the opposite of {a}?|
give me the opposite of {a}|what is not {a} but the opposite?|do you know the opposite of {a}?|
{a} is the opposite of what?|the opposite of {a}?|does {a} have an opposite?|what is {a}'s opposite?
""")
_CALENDAR_FRAMES = listing("""what {k} comes {w} {x}?|which {k} is {w} {x}?|tell me the {k} {w} {x}|
what is the {k} {w} {x}?|the {k} {w} {x}?|{w} {x} comes what {k}?|{w} {x} there is which {k}?|
name the {k} {w} {x}|which {k} comes {w} {x}?|what {k} do we have {w} {x}?|{w} {x} is what {k}?""")
_SIDES_FRAMES = listing("""how many sides does {s} have?|number of sides of {s}?|
how many corners does {s} have?|tell me how many sides {s} has|{s} has how many sides?|
how many sides are in {s}?|count the sides of {s}""")
_SUM_FRAMES = listing("""what is {a} {op} {b}?|how much is {a} {op} {b}?|{a} {s} {b}|
what is {a} {s} {b}?|calculate {a} {op} {b}|can you calculate {a} {s} {b}?|{a} {op} {b}?|
tell me {a} {op} {b}|what's {a} {op} {b}|how much is {a} {s} {b}?|can you tell me {a} {op} {b}?|
please do the sum {a} {s} {b}|{a} {op} {b} is what?|{a}{s}{b}|{a}{s}{b}=|
give me the result of {a} {op} {b}|do you know {a} {op} {b}?|what does {a} {op} {b} make?""")
_PLUS_FRAMES = listing("""add {a} and {b}|what do you get if you add {a} and {b}?|
please add {a} and {b}|{a} and {b} together?|the sum of {a} and {b}?|could you add {a} to {b}?""")
_MINUS_FRAMES = listing("""subtract {b} from {a}|{a} take away {b}?|take {b} away from {a}|
what is left of {a} without {b}?|{a} less {b}?""")


def _animal(rng: random.Random, frames: tuple[str, ...], animal: str) -> str:
    noun = rng.choice((with_article(animal), "the " + animal))
    return rng.choice(frames).format(a=noun, p=slots.plural(animal))


def capital(rng: random.Random) -> Pair:
    """Ask for the capital of a country or, in 18 % of the draws, the country of a capital."""
    country, city = rng.choice(tuple(slots.CAPITALS.items()))
    if rng.random() < 0.18:
        answer = f"{city} is the capital of {country}."
        return rng.choice(_COUNTRY_FRAMES).format(v=city), answer
    return (
        rng.choice(_CAPITAL_FRAMES).format(c=country),
        rng.choice(("The capital of {c} is {v}.", "{v} is the capital of {c}.")).format(
            c=country, v=city
        ),
    )


def animal_sound(rng: random.Random) -> Pair:
    """Ask what an animal says."""
    animal, sound = rng.choice(tuple(slots.SOUNDS.items()))
    answer = f"{capitalized(with_article(animal))} says {sound}."
    return _animal(rng, _SOUND_FRAMES, animal), answer


def animal_legs(rng: random.Random) -> Pair:
    """Ask how many legs an animal has."""
    animal, count = rng.choice(tuple(slots.LEGS.items()))
    answer = f"{capitalized(with_article(animal))} has {count} legs."
    return _animal(rng, _LEGS_FRAMES, animal), answer


def animal_home(rng: random.Random) -> Pair:
    """Ask where an animal lives."""
    animal, place = rng.choice(tuple(slots.HOMES.items()))
    answer = f"{capitalized(with_article(animal))} lives {place}."
    return _animal(rng, _HOME_FRAMES, animal), answer


def animal_food(rng: random.Random) -> Pair:
    """Ask what an animal eats."""
    animal, food = rng.choice(tuple(slots.FOODS.items()))
    answer = f"{capitalized(with_article(animal))} eats {food}."
    return _animal(rng, _FOOD_FRAMES, animal), answer


def color_of(rng: random.Random) -> Pair:
    """Ask for the color of a thing."""
    thing, color = rng.choice(tuple(slots.COLORS_OF.items()))
    return rng.choice(_COLOR_FRAMES).format(o=thing), f"{capitalized(thing)} is {color}."


def color_mix(rng: random.Random) -> Pair:
    """Ask what two colors make together."""
    mix, result = rng.choice(tuple(slots.MIXES.items()))
    parts = mix.split("+")
    rng.shuffle(parts)
    question = rng.choice(_MIX_FRAMES).format(a=parts[0], b=parts[1])
    return question, f"{capitalized(parts[0])} and {parts[1]} make {result}."


def opposite(rng: random.Random) -> Pair:
    """Ask for the opposite of a word."""
    words = list(rng.choice(tuple(slots.OPPOSITES.items())))
    rng.shuffle(words)
    answer = f"The opposite of {words[0]} is {words[1]}."
    return rng.choice(_OPPOSITE_FRAMES).format(a=words[0]), answer


def neighbor_in_calendar(rng: random.Random) -> Pair:
    """Ask for the day or month before or after another."""
    kind, names = rng.choice((("day", slots.DAYS), ("month", slots.MONTHS)))
    index = rng.randrange(len(names))
    word, step = rng.choice((("after", 1), ("before", -1)))
    question = rng.choice(_CALENDAR_FRAMES).format(k=kind, w=word, x=names[index])
    return question, f"{names[(index + step) % len(names)]} comes {word} {names[index]}."


def sides(rng: random.Random) -> Pair:
    """Ask how many sides a shape has."""
    shape, count = rng.choice(tuple(slots.SIDES.items()))
    noun = with_article(shape)
    return rng.choice(_SIDES_FRAMES).format(s=noun), f"{capitalized(noun)} has {count} sides."


def add_or_subtract(rng: random.Random) -> Pair:
    """Ask for the sum or difference of two numbers from 0 to 12; no result is negative."""
    a, b = rng.randrange(13), rng.randrange(13)
    if rng.random() < 0.65:
        frames = _PLUS_FRAMES if rng.random() < 0.25 else _SUM_FRAMES
        return rng.choice(frames).format(a=a, b=b, op="plus", s="+"), f"{a} plus {b} is {a + b}."
    a, b = max(a, b), min(a, b)
    frames = _MINUS_FRAMES if rng.random() < 0.25 else _SUM_FRAMES
    return rng.choice(frames).format(a=a, b=b, op="minus", s="-"), f"{a} minus {b} is {a - b}."


def comparison(rng: random.Random) -> Pair:
    """Ask which of two numbers up to 20 is bigger."""
    a, b = rng.sample(range(21), 2)
    frames = (
        "which is bigger, {a} or {b}?",
        "which number is bigger, {a} or {b}?",
        "is {a} bigger than {b}?",
        "what is more, {a} or {b}?",
    )
    return rng.choice(frames).format(a=a, b=b), f"{max(a, b)} is bigger than {min(a, b)}."


def next_number(rng: random.Random) -> Pair:
    """Ask for the number after one up to 29."""
    a = rng.randrange(30)
    frames = (
        "what number comes after {a}?",
        "which number is after {a}?",
        "what comes after {a}?",
        "the number after {a}?",
    )
    return rng.choice(frames).format(a=a), f"{a + 1} comes after {a}."


def even_or_odd(rng: random.Random) -> Pair:
    """Ask whether a number up to 29 is even or odd."""
    a = rng.randrange(30)
    frames = ("is {a} even or odd?", "is {a} odd?", "is {a} even?", "tell me if {a} is even")
    return rng.choice(frames).format(a=a), f"{a} is {'odd' if a % 2 else 'even'}."
