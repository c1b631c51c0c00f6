"""What a search of the Hub finds, as lines and as JSON, with a judgement of whether it fits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tui.output import wrapped
from tui.sanitize import printable_line

if TYPE_CHECKING:
    from concurrent.futures import Future

    from engine.gguf.header import GgufHeader
    from engine.hub.search.fit import Fit
    from engine.hub.search.search import Repository
    from modelfiles.references.hub import HubReference

_AT_ONCE = 6
"""Headers fetched at a time: each is two requests of some tens of milliseconds."""
_HEADINGS = ("REPOSITORY", "KIND", "DOWNLOADS", "LIKES", "MODIFIED", "SIZE", "LICENSE", "ACCESS")
# Lines are printed before the next is known, so the widths are those of what is usual.
_WIDTHS = (46, 9, 9, 6, 14, 6, 12, 7)
_GIVING_WAY = ("LICENSE", "MODIFIED", "LIKES", "SIZE", "KIND", "DOWNLOADS", "ACCESS")
"""Which columns a narrow terminal is without, the least important first."""
_LEAST_NAME = 32
_FIT_WIDTH = 12
_INDENT = "    "
_GAP = "  "
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Found:
    """A repository that a search found."""

    repository: Repository
    fit: Fit | None = None
    """Whether it fits; None where nobody asked."""


def judged(found: Iterator[Found], base: GgufHeader | None) -> Iterator[Found]:
    """Yield what was found in its order, each with its fit to `base`, several at a time.

    Without a base all are yielded as they are. Raises what `found` raises.
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
    """Judge a repository in a daemon thread: a pool's would hold Ctrl+C back for its timeouts."""
    from concurrent.futures import Future
    from threading import Thread

    told: Future[Fit] = Future()

    def judge() -> None:
        try:
            told.set_result(_fit(repository, base))
        except BaseException as error:  # handed to whoever waits, whatever it is
            told.set_exception(error)

    Thread(target=judge, name=f"fit {repository.name}", daemon=True).start()
    return told


def _fit(repository: Repository, base: GgufHeader) -> Fit:
    """Judge one repository; what keeps it from being judged is what is told."""
    from engine.errors import HubError
    from engine.hub.pull.adapter import look_up
    from engine.hub.search.fit import Fit, Verdict, fit_of
    from modelfiles.references.hub import HubReference

    reference = HubReference(repository.name, None, "adapter")
    try:
        remote = look_up(reference)
        return fit_of(remote.repo, remote.choice, remote.revision, base)
    except HubError as error:
        if error.__cause__ is None and _holds_a_model(reference):
            return Fit(Verdict.MISFIT, f"{reference.display} holds a model, not an adapter.")
        return Fit(Verdict.UNKNOWN, str(error))


def _holds_a_model(reference: HubReference) -> bool:
    """Whether what cannot be one adapter is a model, in several quantisations or parts."""
    from engine.errors import HubError
    from engine.hub.pull.model import RemoteModel, look_up_either
    from modelfiles.state.home import state_home

    try:
        return isinstance(look_up_either(reference, state_home()), RemoteModel)
    except HubError:
        return False


@dataclass(frozen=True, slots=True)
class FoundTable:
    """How repositories are written, one as soon as it is known.

    Into a file or a pipe goes one line for each, whole, with the reason why it does not fit at its
    end. On a terminal the lines have as many columns as there is room for, and a reason stands on
    lines of its own.
    """

    has_fit: bool = False
    columns: int | None = None
    """Cells of the terminal; None where the output is none."""
    said: Callable[[str], str] = str
    """Puts a reason into the words of whoever asked."""

    def heading(self) -> str:
        """Return the line above the rows."""
        return self._line(_HEADINGS, "FIT" if self.has_fit else "")

    def row(self, found: Found) -> str:
        """Return the line of a repository, and where it is given a reason its lines."""
        cells = _cells(found.repository)
        fit = found.fit
        if fit is None:
            return self._line(cells)
        reason = printable_line(self.said(fit.reason))
        if self.columns is None:
            return self._line(cells, f"{fit.verdict}: {reason}" if reason else str(fit.verdict))
        line = self._line(cells, str(fit.verdict))
        if not reason:
            return line
        width = max(_LEAST_NAME, self.columns - 1)
        return "\n".join((line, *wrapped(reason, width, _INDENT)))

    def _line(self, cells: Sequence[str], more: str = "") -> str:
        texts = [printable_line(cell) for cell in (*cells, more)]
        shown = [
            text.ljust(width)
            for text, width in zip(texts, (*self._widths(), _FIT_WIDTH), strict=True)
            if width
        ]
        return _GAP.join(shown).rstrip()

    def _widths(self) -> tuple[int, ...]:
        """Return the widths of the columns, 0 for one that is left out."""
        if self.columns is None:
            return _WIDTHS
        widths = dict(zip(_HEADINGS, _WIDTHS, strict=True))
        room = self.columns - (_FIT_WIDTH + len(_GAP) if self.has_fit else 0)
        widths["REPOSITORY"] = 0
        for heading in _GIVING_WAY:
            if room - _needed(widths) >= _LEAST_NAME:
                break
            widths[heading] = 0
        widths["REPOSITORY"] = max(_LEAST_NAME, min(_WIDTHS[0], room - _needed(widths)))
        return tuple(widths.values())


def _needed(widths: Mapping[str, int]) -> int:
    return sum(width + len(_GAP) for width in widths.values() if width)


def _cells(repository: Repository) -> tuple[str, ...]:
    from tui.units import age_text, count_text, size_text

    age = age_text(repository.modified, datetime.now(UTC)) if repository.modified else _UNKNOWN
    return (
        repository.name,
        str(repository.kind),
        _UNKNOWN if repository.downloads is None else count_text(repository.downloads),
        _UNKNOWN if repository.likes is None else count_text(repository.likes),
        age,
        _UNKNOWN if repository.size_bytes is None else size_text(repository.size_bytes),
        repository.license or _UNKNOWN,
        _access(repository),
    )


def document(found: Found) -> dict[str, Any]:
    """Return a repository as an object for scripts; what is unknown is null."""
    repository, fit = found.repository, found.fit
    return {
        "repository": repository.name,
        "kind": str(repository.kind),
        "downloads": repository.downloads,
        "likes": repository.likes,
        "modified": repository.modified.isoformat() if repository.modified else None,
        "size_bytes": repository.size_bytes,
        "license": repository.license,
        "gated": repository.is_gated,
        "private": repository.is_private,
        "base_models": list(repository.base_models),
        "revision": repository.sha,
        "fit": None if fit is None else str(fit.verdict),
        "reason": fit.reason if fit is not None and fit.reason else None,
    }


def _access(repository: Repository) -> str:
    if repository.is_gated:
        return "gated"
    return "private" if repository.is_private else "open"
