"""Collect the repositories found so far; filter them by words and order them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from engine.hub.search.search import Repository, Sort
from modelfiles.references.hub import without_host

ORDERS: tuple[Sort, ...] = ("downloads", "likes", "recent")
"""In the order in which a key cycles through them."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def normal_words(text: str) -> str:
    """Return the words in lower case with single blanks, as they are searched for.

    The address of a repository is reduced to its owner and name.
    """
    return without_host(" ".join(text.lower().split()))


class Listing:
    """The known repositories, each with the searches that found it."""

    def __init__(self) -> None:
        self._known: dict[str, Repository] = {}
        self._found_by: dict[str, set[str]] = {}

    def clear(self) -> None:
        """Forget everything, because another scope is searched from now on."""
        self._known.clear()
        self._found_by.clear()

    def add(self, found: Iterable[Repository], words: str) -> None:
        """Add the results of a search for `words`."""
        for repository in found:
            self._known[repository.name] = repository
            self._found_by.setdefault(repository.name, set()).add(words)

    def rows(self, words: str, order: Sort) -> list[Repository]:
        """Return the matching repositories in the given order, highest or newest first.

        A repository matches if a search for these words found it, whatever the Hub matched, or if
        every word is part of its name, kind or licence, so that each typed letter filters at once.
        """
        wanted = words.split()
        matching = [
            repository
            for name, repository in self._known.items()
            if words in self._found_by[name] or all(word in _text(repository) for word in wanted)
        ]
        matching.sort(key=lambda repository: repository.name.lower())
        matching.sort(key=lambda repository: _rank(repository, order), reverse=True)
        return matching


def _text(repository: Repository) -> str:
    return f"{repository.name} {repository.kind} {repository.license or ''}".lower()


def _rank(repository: Repository, order: Sort) -> tuple[datetime, int]:
    match order:
        case "downloads":
            return _LONG_AGO, _count(repository.downloads)
        case "likes":
            return _LONG_AGO, _count(repository.likes)
        case "recent":
            return repository.modified or _LONG_AGO, 0


def _count(value: int | None) -> int:
    return -1 if value is None else value
