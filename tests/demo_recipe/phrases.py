"""Parse the compact notation for word lists and question groups of the demo corpus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Questions with the same meaning, and answers that fit all of them."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]


def listing(text: str) -> tuple[str, ...]:
    """Return the stripped, non-empty items of a text separated by ``|``."""
    return tuple(item.strip() for item in text.replace("\n", " ").split("|") if item.strip())


def pairs(text: str) -> dict[str, str]:
    """Return the mapping in a text of ``key=value`` items separated by ``|``."""
    found = {}
    for item in listing(text):
        key, value = item.split("=", 1)
        found[key] = value
    return found


def groups(text: str) -> tuple[Group, ...]:
    """Return question groups from blocks of ``? form | form`` and ``- answer`` lines.

    Empty lines separate blocks; an indented line continues the previous line. Raises ValueError
    for a block without a question or without an answer.
    """
    found = []
    for block in text.strip().split("\n\n"):
        lines = [line.strip() for line in block.replace("\n  ", " ").splitlines()]
        questions = [q for line in lines if line.startswith("?") for q in listing(line[1:])]
        answers = [line[1:].strip() for line in lines if line.startswith("-")]
        if not questions or not answers:
            raise ValueError(f"A group needs questions and answers: {block!r}")
        found.append(Group(tuple(questions), tuple(answers)))
    return tuple(found)


def capitalized(text: str) -> str:
    """Return the text with its first character in upper case."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """Return the noun with its indefinite article."""
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun
