"""Add noise to user text, so that the demo also answers unseen wordings."""

from __future__ import annotations

import random

from tests.demo_recipe.phrases import capitalized, listing

_OPENINGS = listing("""please,|hey,|ok,|so,|well,|hi,|now|quick question:|one more thing:|hello,|
and|but|good,|thanks,|demo,|tell me,|ok demo,|great,""")
_DROPPABLE = frozenset(listing("what|is|the|of|a|an|do|you|me|tell|can|i|to|in|are|does|have"))
_INSERTED = listing("""really|actually|just|maybe|now|then|again|perhaps|quickly|exactly|simply|
also|
today|right|even|please|still|ever""")
_FRAMES = listing("""do you know|i want to know|my question is|i wonder|let me ask you,|
can you tell me|here is a question,|i would like to know|do you remember|i am not sure,|say,|
i forgot,|i was asking myself,|you know,|could you say|i'd like to ask,""")
_TAILS = listing("please|thanks|my friend|demo|then|for me|do you know|again|right now|bot")
_QUESTION_WORDS = frozenset(listing("what|which|how|where|who|is|why"))
# Turns that state a name or a preference are quoted later, so they keep their words.
_KEPT_STARTS = (
    "my name",
    "i am",
    "call me",
    "hi, my",
    "i'm",
    "hello, i",
    "they call",
    "my fr",
    "you can call",
)


def _changed_words(rng: random.Random, question: str) -> str:
    words = question.split()
    draw = rng.random()
    if draw < 0.10:
        droppable = [index for index, word in enumerate(words) if word.lower() in _DROPPABLE]
        if droppable:
            del words[rng.choice(droppable)]
    elif draw < 0.21:
        last = len(words) + (0 if question.endswith("?") else 1)
        words.insert(rng.randrange(last), rng.choice(_INSERTED))
    elif draw < 0.26:
        index = rng.randrange(len(words))
        word = words[index]
        if len(word) > 3 and word.isalpha() and word.islower():
            at = rng.randrange(len(word) - 1)
            words[index] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif draw < 0.36 and words[0].lower() in _QUESTION_WORDS:
        words = rng.choice(_FRAMES).split() + words
    return " ".join(words)


def noisy(rng: random.Random, question: str) -> str:
    """Return the question with random changes.

    Drops, inserts or misspells a word, adds an opening or a tail, changes case and punctuation.
    """
    text = question
    if ":" not in text and len(text.split()) > 3 and not text.lower().startswith(_KEPT_STARTS):
        text = _changed_words(rng, text)
    if rng.random() < 0.12:
        text = f"{rng.choice(_OPENINGS)} {text}"
    if rng.random() < 0.06 and not text.endswith("!"):
        mark = "?" if text.endswith("?") else ""
        text = f"{text.rstrip('?.')}{rng.choice((' ', ', '))}{rng.choice(_TAILS)}{mark}"
    if text.endswith("?") and rng.random() < 0.25:
        text = text[:-1]
    elif text[-1].isalpha() and rng.random() < 0.1:
        text += "."
    if rng.random() < 0.5:
        text = capitalized(text)
    draw = rng.random()
    if draw < 0.04:
        text = text.upper()
    elif draw < 0.12:
        text = text.lower()
    return text
