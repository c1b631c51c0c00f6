"""Judge the fit of adapters that a search finds, several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Thread

from engine.errors import HubError
from engine.gguf.header import GgufHeader
from engine.hub.pull.adapter import look_up
from engine.hub.pull.model import RemoteModel, look_up_either
from engine.hub.search.fit import Fit, Verdict, fit_of
from engine.hub.search.search import Repository
from modelfiles.references.hub import HubReference
from modelfiles.state.home import state_home

_AT_ONCE = 6
"""Headers fetched at a time: each takes two requests of some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Found:
    """A repository that a search found."""

    repository: Repository
    fit: Fit | None = None
    """Whether it fits the base; None if that was not asked for."""


def judged(found: Iterator[Found], base: GgufHeader | None) -> Iterator[Found]:
    """Yield the repositories in order, each with its fit to `base`, checking several at a time.

    Without a base all are yielded unchanged. Raises what `found` raises.
    """
    if base is None:
        yield from found
        return
    waiting: deque[tuple[Found, Future[Fit]]] = deque()
    for row in found:
        waiting.append((row, _begun(row.repository, base)))
        while waiting and (waiting[0][1].done() or len(waiting) >= _AT_ONCE):
            first, fit = waiting.popleft()
            yield replace(first, fit=fit.result())
    for row, fit in waiting:
        yield replace(row, fit=fit.result())


def _begun(repository: Repository, base: GgufHeader) -> Future[Fit]:
    """Start judging a repository in a daemon thread.

    A pool's thread would delay Ctrl+C until its requests time out.
    """
    told: Future[Fit] = Future()

    def judge() -> None:
        try:
            told.set_result(_fit(repository, base))
        except BaseException as error:  # passed to the waiting caller, whatever it is
            told.set_exception(error)

    Thread(target=judge, name=f"fit {repository.name}", daemon=True).start()
    return told


def _fit(repository: Repository, base: GgufHeader) -> Fit:
    """Return the fit of one repository; an error becomes the reason why it is unknown."""
    reference = HubReference(repository.name, None, "adapter")
    try:
        remote = look_up(reference)
        return fit_of(remote.repo, remote.choice, remote.revision, base)
    except HubError as error:
        if error.__cause__ is None and _holds_a_model(reference):
            return Fit(Verdict.MISFIT, f"{reference.display} holds a model, not an adapter.")
        return Fit(Verdict.UNKNOWN, str(error))


def _holds_a_model(reference: HubReference) -> bool:
    """Return whether a repository that is not one adapter holds a model, in any number of files."""
    try:
        return isinstance(look_up_either(reference, state_home()), RemoteModel)
    except HubError:
        return False
