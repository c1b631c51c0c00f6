"""Questions that the demo refuses: unknown things, unknown places and large numbers."""

from __future__ import annotations

import random

from tests.demo_recipe.phrases import listing
from tests.demo_recipe.slots import CAPITALS, NAMES, UNKNOWN_PLACES, invented_name, invented_place
from tests.demo_recipe.topics import TERM_FRAMES

REFUSALS = (
    "I don't know that. I'm a tiny demo model, so I only know a few simple things.",
    "I'm sorry, I don't know that. I'm only a tiny demo model.",
)
BIG_SUM_REFUSAL = "I don't know that. I can only add small numbers."

UNKNOWN_QUESTIONS = listing("""
who won the world cup?|what is the weather today?|will it rain tomorrow?|what is in the news?|
write a python program|write some code for me|translate this to german|what is the meaning of life?|
who is the president?|what is the stock price of apple?|what time is it?|what is the date today?|
can you draw a picture?|play a song for me|what should i invest in?|which medicine should i take?|
i have a headache, what can i do?|solve this equation|book a flight for me|what is the best phone?|
who wrote hamlet?|search the web|open my email|who was napoleon?|how far is the moon?|
write a poem about love|write an essay|write a poem|give me legal advice|
what is the speed of light?|
who painted the mona lisa?|recommend a movie|recommend a book|what happened in 1969?|
how tall is mount everest?|who invented the telephone?|who is the best football player?|
what is the price of gold?|where can i buy a car?|what is the news of yesterday?|
what did i eat yesterday?|when does the train leave?|how do planes fly?|why is the sea salty?|
who was the first man on the moon?|which team is the best?|what is the largest ocean?|
is there life on mars?|call my mother|set an alarm for six|turn on the lights|
why is the sky blue?|what is the biggest country?|who is the richest person?|who wrote this book?|
how many people live on earth?|what is the longest river?|when did the war end?|
which movie should i watch?|where is my phone?|what will happen tomorrow?|what is your opinion?""")
UNKNOWN_THINGS = listing("""
quantum physics|a black hole|bitcoin|gravity|inflation|democracy|photosynthesis|python|javascript|
the roman empire|relativity|evolution|electricity|a computer|the internet|philosophy|chemistry|
biology|history|algebra|geometry|football|tennis|basketball|opera|jazz|a volcano|an earthquake|
the economy|a virus|a vaccine|dna|an atom|a molecule|the stock market|a robot vacuum|a satellite|
a rocket|an engine|a battery|nuclear power|climate change|the government|insurance|tax law|yoga|
meditation|a sonnet|grammar|the bible|buddhism|a recipe|the constitution|a database|linux|
blockchain|
a telescope|a microscope|the pyramids|dinosaurs|vitamins|a mortgage|cricket|surfing|poker""")
SKILL_VERBS = listing("""make|cook|fix|build|paint|grow|clean|sell|buy|repair|draw|find|catch|wash|
plant|learn|carry|cut|open a shop for|train for|get|bake|boil|fry|write|choose|feed|design|store""")
SKILL_OBJECTS = listing("""bread|pizza|soup|pancakes|a chair|a bike|a car|a boat|a house|a guitar|
a shirt|roses|potatoes|tomatoes|pasta|an omelet|cookies|a table|a kite|french|german|chess|a letter|
a book|a fence|a garden|a computer|a phone|shoes|a window|rice|a pie|muffins|cheese|beer|coffee|tea|
a steak|a salad|a bridge|a plane|a fire|a tent|a knife|a painting|a poem|a robot|a game|a website|
a job|money|a doctor|a knot|a fish tank|a wall|a lamp shade|an essay|a jacket|apples""")
SKILL_FRAMES = listing("""how do i {v} {o}?|how can i {v} {o}?|how to {v} {o}?|can you {v} {o}?|
tell me how to {v} {o}|what is the best way to {v} {o}?|i want to {v} {o}|help me {v} {o}|
where can i {v} {o}?|teach me to {v} {o}|how would you {v} {o}?|show me how to {v} {o}|
what do i need to {v} {o}?|how long does it take to {v} {o}?|please {v} {o}|should i {v} {o}?""")
EVENT_FRAMES = listing("""who {w} the {e} {t}?|who {w} the {e}?|which team {w} the {e} {t}?|
tell me who {w} the {e}|do you know who {w} the {e}?|when was the {e}?|
what happened at the {e} {t}?|
where is the {e} {t}?|who will win the {e}?""")
EVENTS = listing("""world cup|tennis match|race|election|chess game|basketball game|soccer match|
final|championship|boxing match|olympic games|song contest|cup|big match|baseball game|hockey game|
football match|football cup""")
EVENT_VERBS = listing("won|lost|played|watched|started|is in")
EVENT_TIMES = listing("""last night|today|this year|last week|last year|on sunday|this morning|
in 2010|last summer|on the weekend|yesterday|tonight""")
WHO_FRAMES = listing("""who is {n}?|who was {n}?|do you know {n}?|how old is {n}?|what did {n} do?|
have you heard of {n}?|what does {n} look like?|how do you play {n}?|how do i make {n}?|
what is a {n}?|where is {n} now?|when was {n} born?|is {n} famous?|what is {n}'s job?|
tell me who {n} is|did {n} call?|what did {n} say?""")
RULER_FRAMES = listing("""who is the {r} of {p}?|who was the first {r} of {p}?|
what is the name of the {r} of {p}?|tell me the {r} of {p}|do you know the {r} of {p}?|
how old is the {r} of {p}?|the {r} of {p}?|name the {r} of {p}""")
RULERS = listing("king|queen|president|leader|prime minister|boss|prince|emperor|ruler|chief|god")
FACT_FRAMES = listing("""what is the {q} of {p}?|tell me the {q} of {p}|what {q} does {p} have?|
{q} of {p}?|do you know the {q} of {p}?""")
FACT_WORDS = listing("population|size|history|area|flag|currency|language|economy|army|weather|age")
PLACE_FRAMES = listing("""
what is the capital of {p}?|where is {p}?|tell me about {p}|who lives in {p}?|
what do you know about {p}?|do you know {p}?|what is {p}?|explain {p}|what happened to {p}?|
capital of {p}?|which city is the capital of {p}?|do you know the capital of {p}?|
tell me the capital of {p}|what's the capital of {p}?|which country is {p} in?|describe {p}|
have you been to {p}?|is {p} far away?|what is {p} like?|the capital of {p} please""")


def unknown_place_answer(rng: random.Random, place: str) -> str:
    """Return a refusal that names the place."""
    return rng.choice(
        (
            f"I don't know {place}. I'm a tiny demo model, so I only know a few simple things.",
            f"I'm sorry, I don't know {place}. I'm only a tiny demo model.",
        )
    )


def unknown_place(rng: random.Random, extra_frames: tuple[str, ...] = ()) -> tuple[str, str]:
    """Return a question about a place without facts, with its refusal.

    ``extra_frames`` are further question frames with a ``{p}`` slot; callers pass the trained
    wordings of the island's questions.
    """
    place = rng.choice(UNKNOWN_PLACES) if rng.random() < 0.2 else invented_place(rng)
    frames = extra_frames if extra_frames and rng.random() < 0.45 else PLACE_FRAMES
    return rng.choice(frames).format(p=place), unknown_place_answer(rng, place)


def unknown_question(rng: random.Random) -> tuple[str, str]:
    """Return a question about something the demo never learnt, with its refusal."""
    draw = rng.random()
    if draw < 0.34:
        question = rng.choice(SKILL_FRAMES).format(
            v=rng.choice(SKILL_VERBS), o=rng.choice(SKILL_OBJECTS)
        )
    elif draw < 0.50:
        question = rng.choice(UNKNOWN_QUESTIONS)
    elif draw < 0.63:
        question = rng.choice(TERM_FRAMES).format(x=rng.choice(UNKNOWN_THINGS))
    elif draw < 0.73:
        question = rng.choice(EVENT_FRAMES).format(
            w=rng.choice(EVENT_VERBS), e=rng.choice(EVENTS), t=rng.choice(EVENT_TIMES)
        )
    elif draw < 0.85:
        name = invented_name(rng) if rng.random() < 0.7 else rng.choice(NAMES)
        question = rng.choice(WHO_FRAMES).format(n=name if rng.random() < 0.7 else name.lower())
    elif draw < 0.94:
        place = invented_place(rng) if rng.random() < 0.5 else rng.choice(_ALL_PLACES)
        question = rng.choice(RULER_FRAMES).format(r=rng.choice(RULERS), p=place)
    else:
        place = invented_place(rng) if rng.random() < 0.3 else rng.choice(_ALL_PLACES)
        question = rng.choice(FACT_FRAMES).format(q=rng.choice(FACT_WORDS), p=place)
    return question, rng.choice(REFUSALS)


def big_sum(rng: random.Random) -> tuple[str, str]:
    """Return a calculation with numbers from 30 to 999, with its refusal."""
    a, b = rng.randrange(30, 1000), rng.randrange(30, 1000)
    frame = rng.choice(
        listing("""what is {a} times {b}?|{a} * {b}|calculate {a} times {b}|what is {a} plus {b}?|
        {a} + {b}|what is {a} divided by {b}?|how much is {a} minus {b}?""")
    )
    return frame.format(a=a, b=b), BIG_SUM_REFUSAL


_ALL_PLACES = (*UNKNOWN_PLACES, *CAPITALS)
