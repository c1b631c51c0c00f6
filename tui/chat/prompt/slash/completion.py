"""Complete the command that is being typed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelfiles.parameters import KINDS, KV_CACHE_TYPES
from tui.chat.prompt.slash.table import (
    GROUPS,
    HELP_TOPICS,
    PARAMETER_NAMES,
    SETTING_KEYS,
    TABLE,
    Verb,
    rows_of,
    second_words,
)
from tui.settings import setting_of

_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that can replace the one being typed."""

    word: str
    description: str = ""


def is_model_name_next(text: str) -> bool:
    """Return whether the word being typed is the name of a model."""
    return _BLANKS.split(text)[:-1] == [Verb.LOAD]


def candidates(text: str, model_names: Sequence[str] = ()) -> tuple[Candidate, ...]:
    """Return the words that can complete the last word of `text`, in the order of the table.

    Empty if the text is not a command, or if any text may follow.
    """
    if not text.startswith("/") or "\n" in text:
        return ()
    *given, typed = _BLANKS.split(text)
    words = _next_words(given, model_names)
    if typed != "/":
        words = (*words, *_aliases(given))
    return tuple(c for c in words if c.word.casefold().startswith(typed.casefold()))


def completed(text: str, found: Sequence[Candidate]) -> str:
    """Return `text` with its last word completed as far as the candidates agree.

    If they agree on nothing more, the first one is taken. A blank follows if the command goes on.
    """
    *given, typed = _BLANKS.split(text)
    if not found:
        return text
    common = _common_start([candidate.word for candidate in found])
    word = common if len(common) > len(typed) else found[0].word
    is_whole = any(candidate.word == word for candidate in found)
    end = " " if is_whole and _goes_on([*given, word]) else ""
    return text[: len(text) - len(typed)] + word + end


def usage(text: str) -> str:
    """Return the usage of the command whose arguments `text` has begun; empty for none."""
    if "\n" in text or not text.startswith("/"):
        return ""
    words = tuple(word.casefold() for word in _BLANKS.split(text))
    for row in TABLE:
        if row.arguments and words[: len(row.words)] == row.words and len(words) > len(row.words):
            return f"{row.usage}   {row.description.replace('`', '')}"
    return ""


def _common_start(words: Sequence[str]) -> str:
    first, last = min(words), max(words)
    n_equal = next((i for i, c in enumerate(first) if not last.startswith(c, i)), len(first))
    return first[:n_equal]


def _next_words(given: Sequence[str], model_names: Sequence[str]) -> tuple[Candidate, ...]:
    match tuple(word.casefold() for word in given):
        case ():
            return tuple(_first_words())
        case (first,) if first in GROUPS:
            rows = [row for row in rows_of(first) if len(row.words) > 1]
            return tuple(Candidate(row.words[1], _plain(row.description)) for row in rows)
        case (Verb.LOAD,):
            return _bare(model_names)
        case (Verb.HELP,) | ("/help",):
            return _bare(HELP_TOPICS)
        case ("/set", "parameter"):
            return _bare(PARAMETER_NAMES)
        case ("/set", "parameter", "kv_cache_type"):
            return _bare(KV_CACHE_TYPES)
        case ("/set", "parameter", name) if KINDS.get(name) is bool:
            return _bare(("true", "false"))
        case ("/set", key) if key in SETTING_KEYS.values():
            return _bare(setting_of(key).choices)
    return ()


def _first_words() -> Iterable[Candidate]:
    for word in dict.fromkeys(row.words[0] for row in TABLE):
        if word in GROUPS:
            yield Candidate(word, ", ".join(second_words(word)))
        else:
            yield Candidate(word, _plain(next(rows_of(word)).description))


def _aliases(given: Sequence[str]) -> tuple[Candidate, ...]:
    rows = [row for row in TABLE if row.alias] if not given else []
    return tuple(Candidate(row.alias, _plain(row.description)) for row in rows)


def _goes_on(words: Sequence[str]) -> bool:
    given = tuple(words)
    has_arguments = any(row.arguments and row.words == given for row in TABLE)
    is_parameter = len(given) == 3 and given[:2] == tuple(Verb.SET_PARAMETER.split())
    return has_arguments or is_parameter or (len(given) == 1 and given[0] in GROUPS)


def _bare(words: Iterable[str]) -> tuple[Candidate, ...]:
    return tuple(Candidate(word) for word in words)


def _plain(description: str) -> str:
    return description.replace("`", "")
