"""Keep saved states of the KV cache, so that going back costs a copy instead of a prefill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import psutil

from engine.runtime.kv.cells import Cells, common_prefix, common_tokens
from engine.runtime.kv.snapshot_files import SnapshotFolder

WORTH_SAVING: Final = 16
"""Tokens from which a state is saved or read from disk: fewer are cheaper to evaluate again."""
MAX_PERSISTED: Final = 8
"""Most conversations written to disk by one `persist`."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One saved state: the cells it was computed from, and llama.cpp's bytes."""

    cells: Cells
    data: npt.NDArray[np.uint8]

    @property
    def n_tokens(self) -> int:
        """Tokens in the state."""
        return int(self.cells.shape[1])

    @property
    def size_bytes(self) -> int:
        """Memory it takes."""
        return self.data.nbytes + self.cells.nbytes


@dataclass(frozen=True, slots=True)
class Match:
    """How many tokens of a state can be reused for wanted cells."""

    n_tokens: int
    """Leading tokens that can be kept."""
    n_exact: int
    """Of these, those computed under the wanted stacks."""

    def is_better_than(self, other: Match) -> bool:
        """Return whether it saves more tokens, or as many with more of them exact."""
        return (self.n_tokens, self.n_exact) > (other.n_tokens, other.n_exact)


NO_MATCH: Final = Match(0, 0)


def match(held: Cells, wanted: Cells, *, n_least: int, keeps: bool) -> Match:
    """Return how much of `held` can be reused for `wanted`.

    Args:
        held: The cells of a state.
        wanted: The cells of a prompt.
        n_least: The shortest length the state can be cut to.
        keeps: Compare tokens only, ignoring the stacks they were computed under.
    """
    n_exact = common_prefix(held, wanted)
    n_tokens = common_tokens(held, wanted) if keeps else n_exact
    return Match(n_tokens, n_exact) if n_tokens >= max(n_least, 1) else NO_MATCH


class SnapshotStore:
    """Snapshots of one base within a byte budget; the least recently used is dropped first.

    Args:
        budget_bytes: Most memory; 0 keeps nothing.
        n_least: Maps the token count of a restored state to the shortest length it can be cut to.
        folder: Folder of snapshots that outlive the process, if any.
    """

    def __init__(
        self,
        budget_bytes: int,
        *,
        n_least: Callable[[int], int] = lambda _n_tokens: 0,
        folder: SnapshotFolder | None = None,
    ) -> None:
        self.n_least = n_least
        self.folder = folder
        self._budget_bytes = budget_bytes
        self._snapshots: list[Snapshot] = []  # most recently used last

    def __len__(self) -> int:
        return len(self._snapshots)

    @property
    def n_bytes(self) -> int:
        """Memory held by all snapshots."""
        return sum(snapshot.size_bytes for snapshot in self._snapshots)

    @property
    def budget_bytes(self) -> int:
        """Most memory that snapshots may take; lowering it drops the least recently used."""
        return self._budget_bytes

    @budget_bytes.setter
    def budget_bytes(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._shrink()

    def has_room_for(self, size_bytes: int) -> bool:
        """Return whether a snapshot of that size fits the budget."""
        return size_bytes <= self._budget_bytes

    def longest(
        self, wanted: Cells, *, keeps: bool = False, better_than: Match = NO_MATCH
    ) -> tuple[Snapshot, int] | None:
        """Return the snapshot that saves most of `wanted`, and how many of its tokens to reuse.

        None if no snapshot is better than `better_than`. Looks in memory first, then in the folder;
        a snapshot read from the folder is then kept in memory.
        """
        best, found = better_than, None
        for snapshot in reversed(self._snapshots):
            this = self._match(snapshot.cells, wanted, keeps)
            if this.is_better_than(best):
                best, found = this, snapshot
        if self.folder is not None:
            found_on_disk = self._longest_on_disk(self.folder, wanted, keeps, best)
            if found_on_disk is not None:
                best, found = found_on_disk
        if found is None:
            return None
        self._use(found)
        return found, best.n_tokens

    def _longest_on_disk(
        self, folder: SnapshotFolder, wanted: Cells, keeps: bool, best: Match
    ) -> tuple[Match, Snapshot] | None:
        ranked = [(self._match(cells, wanted, keeps), cells) for cells in folder.index()]
        ranked.sort(key=lambda pair: (pair[0].n_tokens, pair[0].n_exact), reverse=True)
        for this, cells in ranked:
            if this.n_tokens < best.n_tokens + WORTH_SAVING:
                return None
            data = folder.read(cells)  # None if damaged; the file is then removed
            if data is not None:
                return this, Snapshot(cells, data)
        return None

    def n_covered(self, cells: Cells) -> int:
        """Return how many leading cells of `cells` the best snapshot in memory could restore."""
        n_most = 0
        for snapshot in self._snapshots:
            n = common_prefix(snapshot.cells, cells)
            if n >= self.n_least(snapshot.n_tokens):
                n_most = max(n_most, n)
        return n_most

    def put(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot; return False if it alone exceeds the budget.

        If states can be cut, older snapshots that are a prefix of the new one are dropped: it can
        restore all that they could.
        """
        if not self.has_room_for(snapshot.size_bytes):
            return False
        self._snapshots = [
            other for other in self._snapshots if not self._replaces(snapshot.cells, other.cells)
        ]
        self._snapshots.append(snapshot)
        self._shrink()
        return True

    def remove(self, snapshot: Snapshot) -> None:
        """Remove an unusable snapshot from memory and from disk."""
        self._snapshots = [other for other in self._snapshots if other is not snapshot]
        if self.folder is not None:
            self.folder.remove(snapshot.cells)

    def persist(self, n_most: int = MAX_PERSISTED) -> int:
        """Write the most recent snapshot of each conversation to the folder; return how many.

        Snapshots the folder already covers are not written; those the new ones supersede are
        removed.
        """
        if self.folder is None:
            return 0
        written: list[Snapshot] = []
        for snapshot in reversed(self._snapshots):
            if len(written) == n_most:
                break
            if not any(self._succeeds(newer.cells, snapshot.cells) for newer in written):
                written.append(snapshot)
        held = self.folder.index()
        n_new = 0
        for snapshot in reversed(written):  # most recent last, so that its file is the newest
            if any(self._replaces(cells, snapshot.cells) for cells in held):
                continue
            if self.folder.write(snapshot.cells, snapshot.data):
                n_new += 1
                for cells in held:
                    if self._succeeds(snapshot.cells, cells):
                        self.folder.remove(cells)
        return n_new

    def clear(self) -> None:
        """Remove every snapshot from memory."""
        self._snapshots.clear()

    def _match(self, cells: Cells, wanted: Cells, keeps: bool) -> Match:
        return match(cells, wanted, n_least=self.n_least(cells.shape[1]), keeps=keeps)

    def _replaces(self, new: Cells, old: Cells) -> bool:
        n_old, n_new = int(old.shape[1]), int(new.shape[1])
        return common_prefix(new, old) == n_old >= self.n_least(n_new)

    def _succeeds(self, new: Cells, old: Cells) -> bool:
        """Return whether `new` continues the conversation of `old`: shares over half its tokens.

        If states cannot be cut, it must share all of them: a part would save nothing.
        """
        n_common, n_old = common_tokens(old, new), int(old.shape[1])
        return 2 * n_common > n_old if self.n_least(n_old) == 0 else n_common == n_old

    def _use(self, snapshot: Snapshot) -> None:
        """Mark a snapshot as the most recently used."""
        others = [other for other in self._snapshots if other is not snapshot]
        if len(others) == len(self._snapshots):
            self.put(snapshot)  # it came from the folder
        else:
            self._snapshots = [*others, snapshot]

    def _shrink(self) -> None:
        while self._snapshots and self.n_bytes > self._budget_bytes:
            self._snapshots.pop(0)


def default_budget_bytes(n_mapped: int = 0) -> int:
    """Return a quarter of the free memory, at least 0.

    Args:
        n_mapped: Bytes of mapped weights, which count as free until they are read.
    """
    return max(0, int(psutil.virtual_memory().available) - n_mapped) // 4
