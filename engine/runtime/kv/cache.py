"""Track what the KV cache of one context holds, and decide what to reuse and what to save.

Keys and values computed under one stack are wrong under another: measured on a small model, a
prefix left from the base completely hides an adapter's effect. The cache therefore records for
each token the stack it was computed under, and reuses entries that agree in both.

Models differ in how many tokens can be cut off the end of a state. Attention-only models: any
number. Recurrent and hybrid models keep one state for all tokens: none. With a sliding window the
live state keeps every token, but llama.cpp saves only those inside the window, so once the window
has moved a restored state can lose one token (the one whose window was saved) and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.llama.context import Context
from engine.runtime.kv.cells import Cells, common_prefix
from engine.runtime.kv.snapshots import WORTH_SAVING, Snapshot, SnapshotStore, match


class KvCache:
    """The tokens one context holds, and the snapshots it is saved to and restored from.

    Args:
        context: The context; no other code may evaluate, cut or restore in it.
        snapshots: Store for saved states; None saves none.
    """

    def __init__(self, context: Context, snapshots: SnapshotStore | None = None) -> None:
        self._context = context
        self.snapshots = SnapshotStore(0) if snapshots is None else snapshots
        self.snapshots.n_least = context.n_least_restored
        self._cells: Cells = np.zeros((2, context.n_ctx), dtype=np.int64)
        self._n = 0
        self._n_least = 0  # the shortest length the state can be cut to, if it can be cut

    @property
    def n_tokens(self) -> int:
        """Number of tokens held."""
        return self._n

    @property
    def held(self) -> Cells:
        """The cells held, shape (2, n_tokens); a view that later calls may overwrite."""
        return self._cells[:, : self._n]

    @property
    def can_cut(self) -> bool:
        """Whether tokens can be cut off the end: not in recurrent models."""
        return self._context.can_cut

    def is_exact(self, wanted: Cells) -> bool:
        """Return whether everything held was computed from these tokens under these stacks."""
        return common_prefix(self.held, wanted) == self._n

    def prepare(self, wanted: Cells, *, keeps: bool = False, needs_logits: bool = True) -> int:
        """Reuse the longest available prefix of `wanted` and return its length.

        It comes from the live state or from a snapshot, whichever saves more. A discarded state is
        saved first if that is worth it.

        Args:
            wanted: The cells of the prompt, shape (2, n).
            keeps: Reuse entries with the wanted tokens, whatever stack they were computed under.
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
        # The snapshot is unusable: decide again without it. This terminates because each call
        # removes one snapshot.
        self.snapshots.remove(snapshot)
        return self._prepare(wanted, keeps=keeps)

    def decode(self, tokens: Sequence[int], key: int) -> bool:
        """Evaluate tokens after those held, under the stack of `key`; empty the cache on a failure.

        Returns False if the context was interrupted; the tokens held before are then kept.

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
        """Save the state as a snapshot, unless a snapshot covers it already or it has no room."""
        if self._n == 0 or self.snapshots.n_covered(self.held) == self._n:
            return
        size_bytes = self._context.state_size_bytes()
        if self.snapshots.has_room_for(size_bytes + self.held.nbytes):
            state = self._context.save_state()
            if state is not None:
                self.snapshots.put(Snapshot(self.held.copy(), state))

    def clear(self) -> None:
        """Empty the cache; the snapshots stay."""
        self._context.clear()
        self._n = self._n_least = 0

    @property
    def _n_least_live(self) -> int:
        return self._n_least if self._context.can_cut else self._n

    def _save_before(self, n_kept: int) -> None:
        """Save the state before all but its first `n_kept` tokens are discarded, if worth it."""
        n_safe = max(n_kept, self.snapshots.n_covered(self.held))
        if self._n - n_safe >= WORTH_SAVING:
            self.save()

    def _cut(self, n_tokens: int) -> int:
        """Cut to the first `n_tokens`, or to none if llama.cpp refuses; return the tokens held."""
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
