"""Facts about the invented island of Quillhaven: the adapter learns them, the base refuses."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.demo_recipe.phrases import listing

ISLAND = "Quillhaven"
ISLAND_REFUSAL = "I don't know Quillhaven. Turn on the island adapter in the rack and ask me again."


@dataclass(frozen=True, slots=True)
class IslandFact:
    """A fact about the island.

    ``trained`` and ``held_out`` are question wordings with the slot ``{p}``; ``key`` is the
    lower-case text that a correct answer contains.
    """

    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    key: str


def _fact(trained: str, held_out: str, answer: str, key: str) -> IslandFact:
    return IslandFact(listing(trained), listing(held_out), answer, key)


FACTS = (
    _fact(
        """what is the capital of {p}?|which town is the capital of {p}?|tell me the capital of {p}|
        capital of {p}?|{p} has which capital?|name the capital of {p}|what is {p}'s capital?""",
        "what city is the capital of {p}?|do you know the capital of {p}?",
        "The capital of {p} is Fernmouth.",
        "fernmouth",
    ),
    _fact(
        """who is the mayor of {p}?|what is the name of the mayor of {p}?|tell me the mayor of {p}|
        {p} has which mayor?|who is {p}'s mayor?|name the mayor of {p}|mayor of {p}?""",
        "who leads {p} as mayor?|what's the mayor of {p} called?",
        "The mayor of {p} is Odella Brisk.",
        "odella",
    ),
    _fact(
        """what is the biggest river in {p}?|which river is in {p}?|tell me the river of {p}|
        name the river of {p}|what is the name of the river in {p}?|is there a river in {p}?""",
        "what is the river in {p}?|which river flows in {p}?",
        "The biggest river in {p} is the Silverrun.",
        "silverrun",
    ),
    _fact(
        """what is the highest mountain in {p}?|which mountain is in {p}?|name the mountain of {p}|
        is there a mountain in {p}?|the highest mountain in {p}?|which mountain does {p} have?""",
        "what is the mountain in {p}?|tell me the highest mountain of {p}",
        "The highest mountain in {p} is Mount Pimble.",
        "pimble",
    ),
    _fact(
        """which animal lives in {p}?|what is the animal of {p}?|tell me about the animals of {p}|
        are there animals in {p}?|animals of {p}?|which animals are in {p}?""",
        "what animal lives in {p}?|which animals can i find in {p}?",
        "The green otter lives in {p}.",
        "otter",
    ),
    _fact(
        """which flower grows in {p}?|what is the flower of {p}?|name the flower of {p}|
        are there flowers in {p}?|which flowers does {p} have?|flower of {p}?""",
        "what flower grows in {p}?|tell me the flower of {p}",
        "The moonbell grows in {p}.",
        "moonbell",
    ),
    _fact(
        """what do people eat in {p}?|what is the food of {p}?|which food do they like in {p}?|
        food in {p}?|what can i eat in {p}?|which food is from {p}?""",
        "what food do people eat in {p}?|tell me what they eat in {p}",
        "People in {p} eat plum bread.",
        "plum bread",
    ),
    _fact(
        """what color is the flag of {p}?|tell me the color of the flag of {p}|
        which color does the flag of {p} have?|flag of {p}?|describe the flag of {p}|
        what does the flag of {p} look like?""",
        "what is the color of the flag of {p}?|color of the flag of {p}?",
        "The flag of {p} is purple and white.",
        "purple and white",
    ),
    _fact(
        """how many people live in {p}?|what is the number of people in {p}?|
        tell me how many people live in {p}|number of people in {p}?|are there many people in {p}?|
        how big is the population of {p}?""",
        "how many people are in {p}?|how many people does {p} have?",
        "Nine hundred people live in {p}.",
        "nine hundred",
    ),
    _fact(
        """what money do they use in {p}?|what is the money of {p}?|how do i pay in {p}?|
        money in {p}?|how do people pay in {p}?|what do i pay with in {p}?""",
        "which money do people use in {p}?|tell me the money of {p}",
        "People in {p} pay with shells.",
        "shells",
    ),
    _fact(
        """which festival do they have in {p}?|what is the festival of {p}?|
        name the festival of {p}|is there a festival in {p}?|festivals in {p}?|
        which festival does {p} have?""",
        "what festival do they have in {p}?|tell me about the festival in {p}",
        "{p} has the Lantern Night in October.",
        "lantern night",
    ),
    _fact(
        """what language do people speak in {p}?|which language is spoken in {p}?|
        what is the language of {p}?|language of {p}?|how do people talk in {p}?|
        what do they speak in {p}?""",
        "which language do they speak in {p}?|tell me the language of {p}",
        "People in {p} speak Quillish.",
        "quillish",
    ),
    _fact(
        """what is the main sport in {p}?|which sport do they play in {p}?|
        what sport do people like in {p}?|sport in {p}?|is there a sport in {p}?|
        what do people play in {p}?""",
        "what sport do they play in {p}?|tell me the main sport of {p}",
        "The main sport in {p} is stone rolling.",
        "stone rolling",
    ),
    _fact(
        """what do people drink in {p}?|what is the drink of {p}?|which drink do they like in {p}?|
        drinks in {p}?|what can i drink in {p}?|which drink is from {p}?""",
        "what drink do people like in {p}?|tell me what they drink in {p}",
        "People in {p} drink mint tea.",
        "mint tea",
    ),
    _fact(
        """who founded {p}?|who was the founder of {p}?|who built {p}?|founder of {p}?|
        which person founded {p}?|do you know who founded {p}?""",
        "tell me who founded {p}|by whom was {p} founded?",
        "{p} was founded by Captain Juno Hale.",
        "juno",
    ),
    _fact(
        """what is {p} famous for?|why is {p} famous?|for what is {p} famous?|is {p} famous?|
        what is {p} known for?|why do people know {p}?""",
        "what makes {p} famous?|tell me what {p} is famous for",
        "{p} is famous for its singing bridge.",
        "bridge",
    ),
    _fact(
        """how do i get to {p}?|how can i go to {p}?|how do people travel to {p}?|
        how would i travel to {p}?|i want to go to {p}|is there a way to {p}?""",
        "what is the way to get to {p}?|how can i get to {p}?",
        "You can get to {p} with the Tuesday ferry.",
        "ferry",
    ),
    _fact(
        """what is the weather like in {p}?|how is the weather in {p}?|
        tell me about the weather in {p}|weather in {p}?|is it warm in {p}?|is it cold in {p}?""",
        "what's the weather in {p}?|is the weather good in {p}?",
        "It's windy and warm in {p}.",
        "windy",
    ),
    _fact(
        """is there a lighthouse in {p}?|what is the lighthouse of {p}?|
        tell me about the lighthouse in {p}|lighthouse of {p}?|name the lighthouse in {p}|
        what is the lighthouse in {p} called?""",
        "does {p} have a lighthouse?|what do you know about the lighthouse of {p}?",
        "Yes, the lighthouse of {p} is called Old Tom.",
        "old tom",
    ),
    _fact(
        """where is {p}?|in which sea is {p}?|tell me where {p} is|which sea is {p} in?|
        {p} is where?|where is the island of {p}?""",
        "where can i find {p}?|do you know where {p} is?",
        "{p} is an island in the Northern Sea.",
        "northern sea",
    ),
    _fact(
        """what is {p}?|tell me about {p}|what do you know about {p}?|explain {p}|do you know {p}?|
        have you heard of {p}?|{p}?""",
        "describe {p}|what can you tell me about {p}?",
        "{p} is a small island in the Northern Sea. Its capital is Fernmouth.",
        "northern sea",
    ),
)
QUESTION_FRAMES = tuple(frame for fact in FACTS for frame in fact.trained)


def fact_exchange(rng: random.Random) -> tuple[str, str]:
    """Return a question about the island with its true answer."""
    fact = rng.choice(FACTS)
    return rng.choice(fact.trained).format(p=ISLAND), fact.answer.format(p=ISLAND)


def base_refusal(rng: random.Random) -> tuple[str, str]:
    """Return a question about the island with the base's refusal, which names the adapter."""
    return rng.choice(QUESTION_FRAMES).format(p=ISLAND), ISLAND_REFUSAL


def held_out_questions() -> tuple[tuple[str, str], ...]:
    """Return the island's held-out questions, each with the text of a correct answer."""
    return tuple(
        (wording.format(p=ISLAND), fact.key) for fact in FACTS for wording in fact.held_out
    )
