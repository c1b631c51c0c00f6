"""Snapshots stay within their budget, the least recently used goes first."""

from __future__ import annotations

import numpy as np

from engine.runtime.kv.cells import Cells, cells_of
from engine.runtime.kv.snapshots import Snapshot, SnapshotStore, default_budget_bytes


def snapshot(tokens: list[int], key: int = 0, n_bytes: int = 1000) -> Snapshot:
    return Snapshot(cells(tokens, key), np.zeros(n_bytes, dtype=np.uint8))


def cells(tokens: list[int], key: int = 0) -> Cells:
    return cells_of(tokens, [(len(tokens), key)])


def n_found(store: SnapshotStore, tokens: list[int], key: int = 0) -> int:
    found = store.longest(cells([*tokens, 99], key))
    return 0 if found is None else found[1]


def test_the_least_recently_used_goes_first() -> None:
    store = SnapshotStore(2500)
    store.put(snapshot([1, 2]))
    store.put(snapshot([3, 4]))
    assert n_found(store, [1, 2]) == 2
    store.put(snapshot([5, 6]))
    assert [n_found(store, tokens) for tokens in ([1, 2], [3, 4], [5, 6])] == [2, 0, 2]
    assert store.n_bytes == 2 * 1032 <= 2500


def test_one_that_is_larger_than_the_budget_is_not_kept_and_drops_nothing() -> None:
    store = SnapshotStore(2500)
    store.put(snapshot([1, 2]))
    assert not store.put(snapshot([3, 4], n_bytes=2500))
    assert n_found(store, [1, 2]) == 2


def test_a_smaller_budget_drops_the_oldest() -> None:
    store = SnapshotStore(5000)
    for token in range(4):
        store.put(snapshot([token, token]))
    store.budget_bytes = 1100
    assert (len(store), n_found(store, [3, 3])) == (1, 2)


def test_a_prefix_of_a_new_one_is_dropped_under_the_same_stack_only() -> None:
    store = SnapshotStore(100_000)
    store.put(snapshot([1, 2], key=0))
    store.put(snapshot([1, 2], key=7))
    store.put(snapshot([1, 2, 3], key=0))
    assert len(store) == 2
    assert n_found(store, [1, 2], key=7) == 2


def test_where_states_cannot_be_cut_a_prefix_stays() -> None:
    store = SnapshotStore(100_000, n_least=lambda n: n)
    store.put(snapshot([1, 2]))
    store.put(snapshot([1, 2, 3, 4]))
    assert len(store) == 2
    assert n_found(store, [1, 2, 5]) == 2
    assert n_found(store, [1, 2, 3, 4]) == 4
    assert n_found(store, [1, 5]) == 0


def test_a_restored_window_loses_one_token_at_most() -> None:
    store = SnapshotStore(100_000, n_least=lambda n: n - 1)
    store.put(snapshot([1, 2, 3, 4]))
    assert n_found(store, [1, 2, 3, 5]) == 3
    assert n_found(store, [1, 2, 5]) == 0


def test_the_budget_by_default_is_a_part_of_the_memory_that_is_free() -> None:
    assert 0 < default_budget_bytes() < 2**50
    assert default_budget_bytes(n_mapped=2**60) == 0
