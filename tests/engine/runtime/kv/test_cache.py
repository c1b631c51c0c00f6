"""What the KV cache gives back: the live state or a snapshot, never anything computed otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.errors import GenerationError
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context
from engine.llama.model import Model
from engine.runtime.kv.cache import KvCache
from engine.runtime.kv.cells import cells_of, common_prefix, common_tokens, stack_key
from engine.runtime.kv.snapshots import SnapshotStore
from engine.stack import AdapterStack
from tests.engine.conftest import Tiny
from tests.support.tiny_memories import N_WINDOW, Memory, write_memory_adapter, write_memory_base

TOKENS = [token % 50 + 20 for token in range(100)]
OTHER = [token % 40 + 80 for token in range(60)]
LARGE = 2**30


class Bench:
    """A KV cache whose context is under an adapter or not, by key 1 and 0."""

    def __init__(self, model: Model, adapter: LoraAdapter, budget_bytes: int = LARGE) -> None:
        # Flash attention rounds to f16 in between; without it, batches differ by about 1e-6.
        self._context = Context(
            model, n_ctx=256, n_batch=128, n_threads=1, uses_flash_attention=False
        )
        self._adapter = adapter
        self.kv = KvCache(self._context, SnapshotStore(budget_bytes))

    def ask(self, tokens: Sequence[int], key: int, *, keeps: bool = False) -> int:
        """Evaluate under a key and return how many tokens were reused."""
        n = self.kv.prepare(cells_of(tokens, [(len(tokens), key)]), keeps=keeps)
        self._context.set_adapters([(self._adapter, 1.0)] if key else [])
        self.kv.decode(tokens[n:], key)
        return n

    @property
    def logits(self) -> np.ndarray:
        return self._context.logits()

    def cold_logits(self, tokens: Sequence[int], key: int) -> np.ndarray:
        """Evaluate with nothing held and no snapshots, and return the logits."""
        self.kv.clear()
        self.kv.snapshots.clear()
        self.ask(tokens, key)
        return self.logits


@pytest.fixture
def bench(tiny: Tiny) -> Iterator[Bench]:
    with Model(tiny.base) as model:
        yield Bench(model, LoraAdapter(model, tiny.first.file))


@pytest.fixture(params=["window", "recurrent", "hybrid"])
def other_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    memory: Memory = request.param
    base = write_memory_base(tmp_path / "base.gguf", memory)
    adapter = write_memory_adapter(tmp_path / "adapter.gguf", base, memory, seed=1)
    with Model(base) as model:
        yield Bench(model, LoraAdapter(model, adapter))


def test_a_token_is_left_to_evaluate_only_where_logits_are_needed(bench: Bench) -> None:
    bench.ask(TOKENS, 0)
    wanted = cells_of(TOKENS, [(len(TOKENS), 0)])
    assert bench.kv.prepare(wanted, needs_logits=False) == len(TOKENS)
    assert bench.kv.prepare(wanted) == len(TOKENS) - 1


def test_what_is_ready_is_not_evaluated_again_where_nothing_can_be_cut(other_bench: Bench) -> None:
    other_bench.ask(TOKENS, 0)
    wanted = cells_of(TOKENS, [(len(TOKENS), 0)])
    assert other_bench.kv.prepare(wanted, needs_logits=False) == len(TOKENS)
    assert other_bench.kv.n_tokens == len(TOKENS)


def test_cells_are_compared_as_pairs() -> None:
    plain = cells_of([1, 2, 3], [(3, 0)])
    mixed = cells_of([1, 2, 3], [(1, 0), (3, 9)])
    assert mixed.tolist() == [[1, 2, 3], [0, 9, 9]]
    assert (common_prefix(plain, mixed), common_tokens(plain, mixed)) == (1, 3)
    assert common_prefix(plain, plain[:, :2]) == 2
    assert common_prefix(plain, plain[:, :0]) == 0


def test_tokens_after_the_last_segment_belong_to_it() -> None:
    assert cells_of([1, 2, 3, 4], [(1, 5), (2, 6)])[1].tolist() == [5, 6, 6, 6]


def test_the_key_of_a_stack_is_the_beginning_of_its_digest() -> None:
    digest = AdapterStack().digest
    assert stack_key(digest).to_bytes(8, "little", signed=True).hex() == digest[:16]


def test_the_longest_prefix_under_the_same_stack_is_reused(bench: Bench) -> None:
    assert bench.ask(TOKENS, 0) == 0
    assert bench.ask([*TOKENS, 1, 2], 0) == 100
    assert bench.ask([*TOKENS[:70], 1, 2], 0) == 70
    assert bench.ask([*TOKENS[:70], 1, 2], 0) == 71, "one token is left, for its logits"


def test_another_stack_reuses_nothing(bench: Bench) -> None:
    bench.ask(TOKENS, 0)
    assert bench.ask(TOKENS, 1) == 0


def test_going_back_restores_what_was_left_behind(bench: Bench) -> None:
    bench.ask(TOKENS, 0)
    before = bench.kv.held.copy()
    bench.ask(TOKENS, 1)
    assert bench.ask([*TOKENS, 1], 0) == 100
    assert np.array_equal(bench.kv.held[:, :100], before)
    logits = bench.logits
    assert np.abs(logits - bench.cold_logits([*TOKENS, 1], 0)).max() < 1e-3


def test_a_part_of_a_snapshot_serves_where_it_is_longer_than_what_is_held(bench: Bench) -> None:
    bench.ask(TOKENS, 0)
    bench.ask([*TOKENS[:10], *OTHER], 0)
    assert bench.ask([*TOKENS[:50], 1], 0) == 50
    assert bench.ask([*TOKENS[:10], *OTHER, 2], 0) == 70


def test_a_few_tokens_are_not_worth_a_snapshot(bench: Bench) -> None:
    bench.ask(TOKENS[:15], 0)
    bench.ask(OTHER, 0)
    assert len(bench.kv.snapshots) == 0
    bench.ask([*OTHER, *TOKENS[:15]], 0)
    bench.ask([*OTHER, 1], 0)
    assert len(bench.kv.snapshots) == 0, "they would go with the end that is cut off"


def test_what_a_snapshot_has_is_not_saved_again(bench: Bench) -> None:
    for key in (0, 1, 0, 1, 0):
        bench.ask(TOKENS, key)
    assert len(bench.kv.snapshots) == 2


def test_a_few_tokens_more_than_a_snapshot_has_are_not_worth_another(bench: Bench) -> None:
    bench.ask(TOKENS, 0)
    bench.ask(OTHER, 0)
    bench.ask([*TOKENS, *range(15)], 0)
    before = bench.kv.snapshots.n_bytes
    bench.ask(OTHER, 1)
    assert bench.kv.snapshots.n_bytes == before
    bench.ask([*TOKENS, *range(16)], 0)
    bench.ask(OTHER, 0)
    assert bench.kv.snapshots.n_bytes > before


def test_keeping_compares_tokens_only_and_says_that_it_is_approximate(bench: Bench) -> None:
    bench.ask(TOKENS, 0)
    assert bench.ask([*TOKENS, 1], 1, keeps=True) == 100
    assert not bench.kv.is_exact(cells_of([*TOKENS, 1], [(101, 1)]))
    assert bench.kv.held[1].tolist() == [0] * 100 + [1]
    assert bench.ask([*TOKENS, 1, 2], 1) == 0, "what was kept is no prefix of the exact answer"
    assert bench.kv.is_exact(cells_of([*TOKENS, 1, 2], [(102, 1)]))


def test_keeping_prefers_what_is_exact(bench: Bench) -> None:
    bench.ask(TOKENS, 1)
    bench.ask(TOKENS, 0)
    assert bench.ask([*TOKENS, 1], 1, keeps=True) == 100
    assert bench.kv.is_exact(cells_of([*TOKENS, 1], [(101, 1)]))


def test_without_a_budget_nothing_is_saved(tiny: Tiny) -> None:
    with Model(tiny.base) as model:
        bench = Bench(model, LoraAdapter(model, tiny.first.file), budget_bytes=0)
        bench.ask(TOKENS, 0)
        bench.ask(TOKENS, 1)
        assert bench.ask(TOKENS, 0) == 0


def test_a_failure_leaves_nothing_held(bench: Bench) -> None:
    bench.ask([*TOKENS, *TOKENS[:28]], 0)
    bench.kv.decode(TOKENS, 0)
    with pytest.raises(GenerationError, match="full"):
        bench.kv.decode(TOKENS, 0)
    assert bench.kv.n_tokens == 0
    assert bench.ask(TOKENS, 0) == 0


def test_a_snapshot_that_llama_cpp_refuses_is_dropped(bench: Bench) -> None:
    bench.ask(TOKENS, 0)
    bench.ask(OTHER, 0)
    cells = cells_of(TOKENS, [(len(TOKENS), 0)])
    found = bench.kv.snapshots.longest(cells)
    assert found is not None
    snapshot, _n_tokens = found
    snapshot.data[:4] = 0  # its magic number
    assert bench.ask(TOKENS, 0) == 0
    assert bench.kv.snapshots.longest(cells) is None


def test_other_memories_give_back_whole_states_exactly(other_bench: Bench) -> None:
    other_bench.ask(TOKENS, 0)
    other_bench.ask(TOKENS, 1)
    assert other_bench.ask([*TOKENS, 1], 0) == 100
    logits = other_bench.logits
    assert np.abs(logits - other_bench.cold_logits([*TOKENS, 1], 0)).max() < 1e-3


def test_a_restored_state_is_not_cut_where_the_model_cannot(other_bench: Bench) -> None:
    other_bench.ask(TOKENS, 0)
    other_bench.ask(TOKENS, 1)
    other_bench.ask([*TOKENS, 1], 0)
    edited = [*TOKENS[:60], 1, 2]
    assert other_bench.ask(edited, 0) == 0
    logits = other_bench.logits
    assert other_bench.ask([*TOKENS, 5], 0) == 100, "the snapshot is still there"
    assert np.abs(logits - other_bench.cold_logits(edited, 0)).max() < 1e-3


def test_before_the_window_slides_a_restored_state_is_cut_anywhere(tmp_path: Path) -> None:
    base = write_memory_base(tmp_path / "base.gguf", "window")
    adapter = write_memory_adapter(tmp_path / "adapter.gguf", base, "window", seed=1)
    with Model(base) as model:
        bench = Bench(model, LoraAdapter(model, adapter))
        for n, n_reused in ((N_WINDOW, 12), (N_WINDOW + 1, 0)):
            bench.kv.clear()
            bench.kv.snapshots.clear()
            bench.ask(TOKENS[:n], 0)
            bench.ask(TOKENS[:n], 1)
            edited = [*TOKENS[:12], *OTHER[:40]]
            assert bench.ask(edited, 0) == n_reused
            logits = bench.logits
            assert np.abs(logits - bench.cold_logits(edited, 0)).max() < 1e-3


def test_a_live_state_is_cut_with_a_window_and_never_with_one_state_for_all(
    other_bench: Bench,
) -> None:
    other_bench.ask(TOKENS, 0)
    edited = [*TOKENS[:60], 1, 2]
    assert other_bench.ask(edited, 0) == (60 if other_bench.kv.can_cut else 0)
    logits = other_bench.logits
    assert np.abs(logits - other_bench.cold_logits(edited, 0)).max() < 1e-3
