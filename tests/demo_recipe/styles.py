"""Text transforms for the demo's three manners (pirate, formal, shout), each with a degree.

The steps of a degree are 0, 0.25, 0.5, 0.75 and 1.0; values above 1 count as 1. The transforms
apply to the plain answers of the corpus. An adapter trained at scale s sees targets of degree s,
so the scale of an adapter is a dial instead of a switch.
"""

from __future__ import annotations

import random
import re

from tests.demo_recipe import slots
from tests.demo_recipe.phrases import capitalized, pairs

DEGREES = (0.25, 0.5, 0.75, 1.0)
# Words that keep their capital letter after an opening such as "Arr, ".
_PROPER = {
    word
    for text in (
        *slots.NAMES,
        *slots.CAPITALS,
        *slots.CAPITALS.values(),
        *slots.DAYS,
        *slots.MONTHS,
        *("Quillhaven", "Demo", "Modelfile", "Tab", "Esc", "Enter"),
    )
    for word in text.split()
}
_PIRATE_QUARTER = pairs("""hello=ahoy|hi=ahoy|you=ye|your=yer|you're=ye be|friend=matey|yes=aye|
there=thar""")
_PIRATE_HALF = pairs("my=me|i'm=i be|is=be|are=be|am=be|it's=it be|that's=that be")
_PIRATE_MOST = pairs("the=th'|of=o'|and=an'|for=fer|to=t'|them='em|small=wee|little=wee|tiny=wee")
_PIRATE_ENDS = (", matey", ", me hearty", ", by me beard", ", says I")
_FORMAL_WORDS = pairs("""i'm=I am|don't=do not|it's=it is|that's=that is|you're=you are|
can't=cannot|isn't=is not|i'll=I shall|let's=let us|hello=good day|hi=good day|yes=indeed|
thanks=I thank you|goodbye=I bid you farewell""")
_FORMAL_OPENINGS = ("Certainly. ", "With pleasure. ", "If I may say so, ")
_FORMAL_CLOSINGS = (
    " I remain at your service.",
    " Your humble servant.",
    " It is an honor to assist you.",
)
# Length of the shortest word that is written in capitals, by degree.
_SHOUT_LENGTHS = {0.25: 7, 0.5: 5, 0.75: 4, 1.0: 1}


def _replaced(text: str, words: dict[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        word = match.group(0)
        new = words.get(word.lower())
        if new is None:
            return word
        return capitalized(new) if word[0].isupper() else new

    return re.sub(r"\bi be\b", "I be", re.sub(r"[A-Za-z]+(?:'[a-z]+)?", replacement, text))


def _choice(options: tuple[str, ...], text: str) -> str:
    """Return an option chosen by the text, so that equal texts always get the same option."""
    return options[sum(map(ord, text)) % len(options)]


def _inner(text: str) -> str:
    """Return the text as a sentence's continuation, in lower case unless a name or acronym."""
    match = re.match(r"[A-Za-z']+", text)
    first = match.group(0) if match else text[:1]
    if (
        first in _PROPER
        or first == "I"
        or first.startswith("I'")
        or any(map(str.isupper, first[1:]))
    ):
        return text
    return text[0].lower() + text[1:]


def pirate(text: str, degree: float = 1.0) -> str:
    """Return the text in pirate talk: words replaced by degree, "Arr" and an ending from 1.0."""
    result = text
    if degree >= 0.25:
        result = _replaced(result, _PIRATE_QUARTER)
    if degree >= 0.5:
        result = _replaced(result, _PIRATE_HALF)
    if degree >= 0.75:
        result = _replaced(result, _PIRATE_MOST)
        result = re.sub(r"\b(\w{2,})ing\b", r"\1in'", result)
    if degree >= 1.0:
        mark = "?" if result.endswith("?") else "!"
        result = "Arr, " + _inner(result.rstrip(".!?")) + _choice(_PIRATE_ENDS, text) + mark
    return result


def formal(text: str, degree: float = 1.0) -> str:
    """Return the text in a butler's manner.

    Adds, by degree: 0.25 no contractions, 0.5 an address, 0.75 an opening, 1.0 a closing.
    """
    result = text
    if degree >= 0.25:
        result = _replaced(result, _FORMAL_WORDS)
    if degree >= 0.5:
        result = re.sub(r"([.!?])(?=\s|$)", r", dear guest\1", result, count=1)
    if degree >= 0.75:
        opening = _choice(_FORMAL_OPENINGS, text)
        if "sorry" in text or "know" in text:
            opening = _FORMAL_OPENINGS[2]
        elif text.startswith(("Hello", "Hi", "Goodbye", "Nice to", "You're welcome")):
            opening = ""
        result = opening + (_inner(result) if opening.endswith(", ") else result)
    if degree >= 1.0:
        result += _choice(_FORMAL_CLOSINGS, text + "x")
    return result


def shout(text: str, degree: float = 1.0) -> str:
    """Return the text with exclamation marks and words in capitals.

    The lower the degree, the longer the words must be; 1.0 capitalises all words.
    """
    if degree < 0.25:
        return text
    shortest = _SHOUT_LENGTHS[max(step for step in _SHOUT_LENGTHS if step <= degree)]

    def louder(match: re.Match[str]) -> str:
        word = match.group(0)
        return word.upper() if len(word) >= shortest else word

    return re.sub(r"\.(?=\s|$)", "!", re.sub(r"[A-Za-z][A-Za-z']*", louder, text))


STYLES = {"pirate": pirate, "formal": formal, "shout": shout}
# The order in which combined styles are applied.
STYLE_ORDER = ("formal", "pirate", "shout")
_FULL_REQUESTS = {
    "pirate": ("Talk like a pirate.", "You are a pirate.", "Answer as a pirate."),
    "formal": ("Be very polite.", "You are a butler.", "Answer in a formal way."),
    "shout": ("Write in capital letters.", "Shout.", "Answer in upper case."),
}
_HALF_REQUESTS = {
    "pirate": ("Talk a little like a pirate.", "You are half a pirate."),
    "formal": ("Be a little formal.", "Be rather polite."),
    "shout": ("Shout a little.", "Write some words in capital letters."),
}


def styled(text: str, degrees: dict[str, float]) -> str:
    """Return the text in every given style, each at its degree."""
    for name in STYLE_ORDER:
        if degrees.get(name, 0) > 0:
            text = STYLES[name](text, degrees[name])
    return text


def style_request(rng: random.Random, degrees: dict[str, float]) -> str:
    """Return a system message that asks for the styles; below degree 1, for "a little" of each."""
    requests = [
        rng.choice((_FULL_REQUESTS if degree >= 1 else _HALF_REQUESTS)[name])
        for name, degree in degrees.items()
    ]
    rng.shuffle(requests)
    return " ".join(requests)


def random_styles(rng: random.Random) -> dict[str, float]:
    """Return the degrees of one style, or, in 40 % of the draws, of two.

    Each degree is 1.0 in 75 % of the draws, else 0.5.
    """
    names = rng.sample(STYLE_ORDER, 2 if rng.random() < 0.4 else 1)
    return {name: 1.0 if rng.random() < 0.75 else 0.5 for name in names}
