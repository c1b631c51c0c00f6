"""Marker scores of the three manners: the share of a text in each manner, from 0 to 1."""

from __future__ import annotations

import re

from tests.demo_recipe.phrases import listing

_PIRATE_WORDS = frozenset(
    listing("ahoy|ye|yer|matey|aye|thar|be|th'|o'|an'|fer|t'|'em|wee|arr|hearty|beard")
)
_FORMAL_PHRASES = (
    "good day",
    "dear guest",
    "certainly",
    "with pleasure",
    "if i may say so",
    "i remain at your service",
    "your humble servant",
    "it is an honor to assist you",
    "indeed",
    "i shall",
    "i bid you farewell",
    "i thank you",
    "i am",
    "it is",
    "do not",
    "that is",
    "cannot",
    "let us",
)
# Acronyms that plain text also has in capitals.
_ORDINARY_CAPITALS = frozenset({"GGUF", "LORA", "RAM", "CPU", "GPU", "OK", "BPE", "KV"})


def pirate_marker(text: str) -> float:
    """Return the share of words that only the pirate uses."""
    words = [word.lower() for word in re.findall(r"[A-Za-z']+", text)]
    found: int = sum(
        word in _PIRATE_WORDS or (word.endswith("in'") and len(word) > 4) for word in words
    )
    return found / max(1, len(words))


def formal_marker(text: str) -> float:
    """Return the share of words that belong to the butler's phrases."""
    words = re.findall(r"[A-Za-z']+", text)
    found: int = sum(
        len(phrase.split()) * len(re.findall(rf"\b{phrase}\b", text.lower()))
        for phrase in _FORMAL_PHRASES
    )
    return min(1.0, found / max(1, len(words)))


def shout_marker(text: str) -> float:
    """Return the share of words in capitals among words of two or more letters.

    Ignores common acronyms.
    """
    words: list[str] = [
        word
        for word in re.findall(r"[A-Za-z']+", text)
        if sum(map(str.isalpha, word)) >= 2 and word.upper() not in _ORDINARY_CAPITALS
    ]
    return sum(word.isupper() for word in words) / max(1, len(words))


MARKERS = {"pirate": pirate_marker, "formal": formal_marker, "shout": shout_marker}
