"""Run one search of the Hub in a thread; the screen takes the results at display rate."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Event, Thread

from engine.errors import EngineError
from engine.hub.search.base_names import BaseIdentity
from engine.hub.search.search import Repository, Sort, search_adapters

MAX_FOUND = 300
"""Repositories of one search: more than anyone reads, and six pages of the Hub."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a search asks the Hub for."""

    words: str = ""
    base: BaseIdentity | None = None
    """The base that adapters are for; None for any."""
    order: Sort = "downloads"


class HubSearch:
    """Starts its thread at once; the methods are for the thread of the screen."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.error = ""
        """One sentence if the search failed, else empty."""
        self.n_found = 0
        self._arrived: deque[Repository] = deque()
        self._is_over = Event()
        self._is_given_up = Event()
        # A daemon, because a hanging request must not delay the end of the program.
        Thread(target=self._run, name="hub search", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will arrive; what has arrived may not have been taken yet."""
        return self._is_over.is_set()

    def take(self) -> list[Repository]:
        """Return what has arrived since the last call."""
        found = []
        while self._arrived:
            found.append(self._arrived.popleft())
        self.n_found += len(found)
        return found

    def give_up(self) -> None:
        """End the search after its current result; later results are lost."""
        self._is_given_up.set()

    def _run(self) -> None:
        asked = self.question
        try:
            for repository in search_adapters(
                asked.words, asked.base, limit=MAX_FOUND, sort=asked.order
            ):
                if self._is_given_up.is_set():
                    break
                self._arrived.append(repository)
        except EngineError as error:
            self.error = str(error)
        except Exception as error:  # a thread has no caller to raise to
            self.error = f"The search failed ({type(error).__name__}): try again."
        finally:
            self._is_over.set()
