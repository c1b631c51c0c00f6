"""What searches of the Hub have found so far, as rows: filtered by words, in one order."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from engine.hub.search.search import Repository, Sort
from modelfiles.references.hub import without_host

ORDERS: tuple[Sort, ...] = ("downloads", "likes", "recent")
"""In the turn in which a key goes through them."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def normal_words(text: str) -> str:
    """Return words as they are searched for: in small letters, one blank between two.

    Of the address of a repository that is what it is called.
    """
    return without_host(" ".join(text.lower().split()))


class Listing:
    """The repositories known, each with the searches that found it."""

    def __init__(self) -> None:
        self._known: dict[str, Repository] = {}
        self._found_by: dict[str, set[str]] = {}

    def clear(self) -> None:
        """Forget everything: what was asked for is something else now."""
        self._known.clear()
        self._found_by.clear()

    def add(self, found: Iterable[Repository], words: str) -> None:
        """Take what a search for `words` has found."""
        for repository in found:
            self._known[repository.name] = repository
            self._found_by.setdefault(repository.name, set()).add(words)

    def rows(self, words: str, order: Sort) -> list[Repository]:
        """Return what matches, first what has most, or is newest.

        That is what a search for these words has found, whatever the Hub saw in it, and what
        holds every word in its name, kind or licence: a letter typed filters at once.
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
