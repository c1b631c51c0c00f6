"""The KV cache of one context: what it holds, what of it serves, and what is worth saving.

Keys and values computed under one stack are wrong under another: measured on a small model, a
prefix left from the base hides an adapter's effect altogether. The cache therefore knows, per
token, the stack it was computed under, and reuses what agrees in both.

Three kinds of model differ in what can be cut off the end of a state. With attention only, any
number of tokens. Recurrent and hybrid models hold one state for all tokens: nothing. With a sliding
window the live state keeps every token, but llama.cpp saves only those inside the window, so once
the window slides a restored state can lose one token (the one whose window was saved) and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.llama.context import Context
from engine.runtime.kv.cells import Cells, common_prefix
from engine.runtime.kv.snapshots import WORTH_SAVING, Snapshot, SnapshotStore, match


class KvCache:
    """What one context holds, with the snapshots that it is saved to and restored from.

    Args:
        context: The context; nobody else evaluates, cuts or restores in it.
        snapshots: Where states are kept; None keeps none.
    """

    def __init__(self, context: Context, snapshots: SnapshotStore | None = None) -> None:
        self._context = context
        self.snapshots = SnapshotStore(0) if snapshots is None else snapshots
        self.snapshots.n_least = context.n_least_restored
        self._cells: Cells = np.zeros((2, context.n_ctx), dtype=np.int64)
        self._n = 0
        self._n_least = 0  # the shortest length the state can be cut to, where it can be at all

    @property
    def n_tokens(self) -> int:
        """Number of tokens held."""
        return self._n

    @property
    def held(self) -> Cells:
        """The cells held, shape (2, n_tokens); a view that the next call may change."""
        return self._cells[:, : self._n]

    @property
    def can_cut(self) -> bool:
        """Whether the end of what is held can be thrown away: not in recurrent models."""
        return self._context.can_cut

    def is_exact(self, wanted: Cells) -> bool:
        """Whether everything held was computed from these tokens under these stacks."""
        return common_prefix(self.held, wanted) == self._n

    def prepare(self, wanted: Cells, *, keeps: bool = False, needs_logits: bool = True) -> int:
        """Hold the longest prefix of `wanted` that is to be had, and return its length.

        It comes from what is held or from a snapshot, whichever saves more. What is thrown away is
        saved first, where that is worth it.

        Args:
            wanted: The cells of the prompt, shape (2, n).
            keeps: Take what has the wanted tokens, whatever stack they were computed under.
            needs_logits: Leave at least one token to evaluate: the logits come from the last one.
        """
        return self._prepare(wanted[:, :-1] if needs_logits else wanted, keeps=keeps)

    def _prepare(self, wanted: Cells, *, keeps: bool) -> int:
        live = match(self.held, wanted, n_least=self._n_least_live, keeps=keeps)
        found = self.snapshots.longest(wanted, keeps=keeps, better_than=live)
        if found is None:
            self._save_before(live.n_tokens)
            return self._cut(live.n_tokens)
        snapshot, n_tokens = found
        self._save_before(0)
        if self._restore(snapshot) and self._cut(n_tokens) == n_tokens:
            return n_tokens
        # Whatever is wrong with it, without it the rest is decided anew; this ends since each time
        # there is one snapshot less.
        self.snapshots.remove(snapshot)
        return self._prepare(wanted, keeps=keeps)

    def decode(self, tokens: Sequence[int], key: int) -> bool:
        """Evaluate tokens after those held, under the stack of this key; on a failure hold nothing.

        Returns False where the context was interrupted: what was held before still is.

        Raises:
            GenerationError: No room in the context, or a failure inside llama.cpp.
        """
        try:
            is_done = self._context.decode(tokens)
        except BaseException:
            self.clear()
            raise
        if is_done:
            n_after = self._n + len(tokens)
            self._cells[0, self._n : n_after] = tokens
            self._cells[1, self._n : n_after] = key
            self._n = n_after
        return is_done

    def save(self) -> None:
        """Save what is held to the snapshots, unless one of them has it already."""
        if self._n == 0 or self.snapshots.n_covered(self.held) == self._n:
            return
        size_bytes = self._context.state_size_bytes()
        if self.snapshots.has_room_for(size_bytes + self.held.nbytes):
            state = self._context.save_state()
            if state is not None:
                self.snapshots.put(Snapshot(self.held.copy(), state))

    def clear(self) -> None:
        """Forget everything but the snapshots."""
        self._context.clear()
        self._n = self._n_least = 0

    @property
    def _n_least_live(self) -> int:
        return self._n_least if self._context.can_cut else self._n

    def _save_before(self, n_kept: int) -> None:
        """Save what is held before all but its first `n_kept` tokens are thrown away."""
        n_safe = max(n_kept, self.snapshots.n_covered(self.held))
        if self._n - n_safe >= WORTH_SAVING:
            self.save()

    def _cut(self, n_tokens: int) -> int:
        """Hold only the first `n_tokens`, or nothing where llama.cpp refuses; return how many."""
        if n_tokens == 0:
            if self._n:
                self.clear()
        elif n_tokens < self._n:
            if self._context.truncate(n_tokens):
                self._n = n_tokens
            else:
                self.clear()
        return self._n

    def _restore(self, snapshot: Snapshot) -> bool:
        n = snapshot.n_tokens
        if n > self._context.n_ctx or not self._context.load_state(snapshot.data):
            self.clear()
            return False
        self._cells[:, :n] = snapshot.cells
        self._n = n
        self._n_least = self.snapshots.n_least(n)
        return True
