"""Saved states of the KV cache, so that going back costs a copy and no evaluation."""

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
"""Tokens for which a state is saved, or read from disk: fewer cost less to evaluate again."""
MAX_PERSISTED: Final = 8
"""Conversations written to disk at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One state: what its entries were computed from, and llama.cpp's bytes."""

    cells: Cells
    data: npt.NDArray[np.uint8]

    @property
    def n_tokens(self) -> int:
        """Tokens in the state."""
        return int(self.cells.shape[1])

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return self.data.nbytes + self.cells.nbytes


@dataclass(frozen=True, slots=True)
class Match:
    """How much of a state serves for wanted cells; more is greater."""

    n_tokens: int
    """Leading tokens that can be kept."""
    n_exact: int
    """Of these, those computed under the wanted stacks."""

    def is_better_than(self, other: Match) -> bool:
        """Whether it saves more, or as much and more exactly."""
        return (self.n_tokens, self.n_exact) > (other.n_tokens, other.n_exact)


NO_MATCH: Final = Match(0, 0)


def match(held: Cells, wanted: Cells, *, n_least: int, keeps: bool) -> Match:
    """Return how much of `held` serves for `wanted`.

    Args:
        held: The cells of a state.
        wanted: The cells of a prompt.
        n_least: The shortest length the state can be cut to.
        keeps: Compare tokens only, whatever stack they were computed under.
    """
    n_exact = common_prefix(held, wanted)
    n_tokens = common_tokens(held, wanted) if keeps else n_exact
    return Match(n_tokens, n_exact) if n_tokens >= max(n_least, 1) else NO_MATCH


class SnapshotStore:
    """Snapshots of one base within a byte budget; the least recently used goes first.

    Args:
        budget_bytes: Most memory; 0 keeps nothing.
        n_least: Tells the shortest length to which a restored state of so many tokens can be cut.
        folder: Where snapshots outlive the process, if anywhere.
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
        self._snapshots: list[Snapshot] = []  # the most recently used last

    def __len__(self) -> int:
        return len(self._snapshots)

    @property
    def n_bytes(self) -> int:
        """Memory held by all snapshots."""
        return sum(snapshot.size_bytes for snapshot in self._snapshots)

    @property
    def budget_bytes(self) -> int:
        """Most memory that snapshots may hold; setting it lower drops the oldest."""
        return self._budget_bytes

    @budget_bytes.setter
    def budget_bytes(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._shrink()

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether a snapshot of that size would be kept at all."""
        return size_bytes <= self._budget_bytes

    def longest(
        self, wanted: Cells, *, keeps: bool = False, better_than: Match = NO_MATCH
    ) -> tuple[Snapshot, int] | None:
        """Return the snapshot that saves most of `wanted`, and how many of its tokens serve.

        None where nothing is better than `better_than`. Looks in memory first, then in the folder;
        one found there is kept in memory from then on.
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
            data = folder.read(cells)  # None, and the file is gone, where it is damaged
            if data is not None:
                return this, Snapshot(cells, data)
        return None

    def n_covered(self, cells: Cells) -> int:
        """Return how many leading cells of `cells` some snapshot in memory could give back."""
        n_most = 0
        for snapshot in self._snapshots:
            n = common_prefix(snapshot.cells, cells)
            if n >= self.n_least(snapshot.n_tokens):
                n_most = max(n_most, n)
        return n_most

    def put(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot; False where it alone is larger than the budget.

        Where states can be cut, those that are a prefix of the new one are dropped: it gives
        back all that they could.
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
        """Forget a snapshot that cannot be used, also on disk."""
        self._snapshots = [other for other in self._snapshots if other is not snapshot]
        if self.folder is not None:
            self.folder.remove(snapshot.cells)

    def persist(self, n_most: int = MAX_PERSISTED) -> int:
        """Write the most recent snapshot of each conversation to the folder; return how many.

        What the folder already has is not written again; what the new ones replace is removed.
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
        for snapshot in reversed(written):  # the most recent last, so that it is the newest file
            if any(self._replaces(cells, snapshot.cells) for cells in held):
                continue
            if self.folder.write(snapshot.cells, snapshot.data):
                n_new += 1
                for cells in held:
                    if self._succeeds(snapshot.cells, cells):
                        self.folder.remove(cells)
        return n_new

    def clear(self) -> None:
        """Forget every snapshot in memory."""
        self._snapshots.clear()

    def _match(self, cells: Cells, wanted: Cells, keeps: bool) -> Match:
        return match(cells, wanted, n_least=self.n_least(cells.shape[1]), keeps=keeps)

    def _replaces(self, new: Cells, old: Cells) -> bool:
        n_old, n_new = int(old.shape[1]), int(new.shape[1])
        return common_prefix(new, old) == n_old >= self.n_least(n_new)

    def _succeeds(self, new: Cells, old: Cells) -> bool:
        """Whether both are one conversation, of which `new` has more than half of what `old` has.

        Where states cannot be cut, all of it: half would save nothing.
        """
        n_common, n_old = common_tokens(old, new), int(old.shape[1])
        return 2 * n_common > n_old if self.n_least(n_old) == 0 else n_common == n_old

    def _use(self, snapshot: Snapshot) -> None:
        """Make it the most recently used."""
        others = [other for other in self._snapshots if other is not snapshot]
        if len(others) == len(self._snapshots):
            self.put(snapshot)  # it came from the folder
        else:
            self._snapshots = [*others, snapshot]

    def _shrink(self) -> None:
        while self._snapshots and self.n_bytes > self._budget_bytes:
            self._snapshots.pop(0)


def default_budget_bytes(n_mapped: int = 0) -> int:
    """Return a quarter of the memory that is free now, at least 0.

    Args:
        n_mapped: Bytes of weights that are mapped and will be read, but count as free until then.
    """
    return max(0, int(psutil.virtual_memory().available) - n_mapped) // 4
