"""A search in a thread: what arrives is taken piece by piece, and its end is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.errors import HubError
from engine.hub.search.search import Repository, RepositoryKind
from tui.chat.hub.search import MAX_FOUND, HubSearch, Question

ROWS = [Repository(f"ann/lora-{number}", RepositoryKind.GGUF) for number in range(3)]
Searcher = Callable[..., Iterator[Repository]]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Searcher], None]:
    return lambda searcher: monkeypatch.setattr("tui.chat.hub.search.search_adapters", searcher)


def ended(search: HubSearch) -> None:
    deadline_s = time.monotonic() + 60.0
    while not search.is_over:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def test_what_has_arrived_is_taken_once_and_the_rest_later(
    use: Callable[[Searcher], None],
) -> None:
    gate, is_waiting = threading.Event(), threading.Event()
    asked: list[Any] = []

    def searcher(*arguments: Any, **options: Any) -> Iterator[Repository]:
        asked.append((arguments, options))
        yield ROWS[0]
        is_waiting.set()
        gate.wait(60)
        yield from ROWS[1:]

    use(searcher)
    search = HubSearch(Question("sql", None, "likes"))
    assert is_waiting.wait(60)
    assert search.take() == ROWS[:1]
    assert search.take() == []
    assert not search.is_over
    gate.set()
    ended(search)
    assert search.take() == ROWS[1:]
    assert (search.n_found, search.error) == (3, "")
    assert asked == [(("sql", None), {"limit": MAX_FOUND, "sort": "likes"})]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (HubError("The Hub is away."), "The Hub is away."),
        (KeyError("x"), "The search failed (KeyError): try again."),
    ],
)
def test_an_error_is_a_sentence_and_keeps_what_was_found(
    use: Callable[[Searcher], None], error: Exception, sentence: str
) -> None:
    def searcher(*_: Any, **__: Any) -> Iterator[Repository]:
        yield ROWS[0]
        raise error

    use(searcher)
    search = HubSearch(Question())
    ended(search)
    assert search.take() == ROWS[:1]
    assert search.error == sentence


def test_a_search_that_is_given_up_ends_where_it_is(use: Callable[[Searcher], None]) -> None:
    gate = threading.Event()
    is_closed = threading.Event()

    def searcher(*_: Any, **__: Any) -> Iterator[Repository]:
        try:
            gate.wait(60)
            yield from ROWS
        finally:
            is_closed.set()

    use(searcher)
    search = HubSearch(Question())
    search.give_up()
    gate.set()
    ended(search)
    assert search.take() == []
    assert is_closed.wait(60)
