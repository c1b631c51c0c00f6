"""Snapshots on disk: another process goes on from them, damage is noticed, the budget holds."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.adapters.read import read_adapter
from engine.gguf.model_header import require_base
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseReference, LoadSpec
from engine.runtime.kv.cells import Cells, cells_of, stack_key
from engine.runtime.kv.snapshot_files import SnapshotFolder, base_fingerprint
from engine.runtime.kv.snapshots import Match, Snapshot, SnapshotStore
from engine.runtime.runtime import Runtime
from engine.stack import AdapterStack, stack_of
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny
from tests.support.split_base import write_split
from tests.support.tiny_memories import Memory, write_memory_adapter, write_memory_base
from tests.support.tiny_models import write_base

MINE, OTHERS = b"m" * 32, b"o" * 32
LARGE = 2**30


def cells(tokens: list[int], key: int = 0) -> Cells:
    return cells_of(tokens, [(len(tokens), key)])


def data(n_bytes: int = 1000) -> np.ndarray:
    return np.arange(n_bytes, dtype=np.uint64).astype(np.uint8)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kv"


def test_what_is_written_is_read_by_a_later_one(folder: Path) -> None:
    assert SnapshotFolder(folder, LARGE, MINE).write(cells([1, 2, 3], key=-5), data())
    later = SnapshotFolder(folder, LARGE, MINE)
    (found,) = later.index()
    assert np.array_equal(found, cells([1, 2, 3], key=-5))
    assert np.array_equal(later.read(found), data())


def test_only_the_owner_can_read_a_conversation(folder: Path) -> None:
    SnapshotFolder(folder, LARGE, MINE).write(cells([1]), data())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(folder)] == [0o600]


def test_nothing_is_made_before_something_is_written(folder: Path) -> None:
    assert SnapshotFolder(folder, LARGE, MINE).index() == []
    assert not folder.exists()


def test_the_snapshots_of_another_base_are_left_alone(folder: Path) -> None:
    SnapshotFolder(folder, LARGE, OTHERS).write(cells([1, 2]), data())
    mine = SnapshotFolder(folder, LARGE, MINE)
    assert mine.index() == []
    assert len(SnapshotFolder(folder, LARGE, OTHERS).index()) == 1


def flip(place: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "magic": flip(0),
    "fingerprint": flip(20),
    "number of cells": flip(40),
    "cells": flip(125),
    "cut short": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\0",
    "header only": lambda raw: raw[:100],
    "empty": lambda _raw: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_ignored_and_removed(
    folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    SnapshotFolder(folder, LARGE, MINE).write(cells([1, 2, 3]), data())
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert SnapshotFolder(folder, LARGE, MINE).index() == []
    assert files(folder) == []


@pytest.mark.parametrize("place", [-1, -900])
def test_damaged_data_is_noticed_when_it_is_read(folder: Path, place: int) -> None:
    SnapshotFolder(folder, LARGE, MINE).write(cells([1, 2, 3]), data())
    (path,) = files(folder)
    raw = path.read_bytes()
    path.write_bytes(flip(len(raw) + place)(raw))
    later = SnapshotFolder(folder, LARGE, MINE)
    assert later.read(cells([1, 2, 3])) is None
    assert (later.index(), files(folder)) == ([], [])


def test_a_file_that_went_away_is_no_snapshot(folder: Path) -> None:
    mine = SnapshotFolder(folder, LARGE, MINE)
    mine.write(cells([1]), data())
    files(folder)[0].unlink()
    assert mine.read(cells([1])) is None
    assert mine.index() == []


def test_the_oldest_of_all_bases_go_first_to_keep_the_budget(folder: Path) -> None:
    SnapshotFolder(folder, 2700, OTHERS).write(cells([9]), data())
    mine = SnapshotFolder(folder, 2700, MINE)
    mine.write(cells([1]), data())
    theirs = next(path for path in files(folder) if path.name.startswith(OTHERS.hex()[:16]))
    (first,) = set(files(folder)) - {theirs}
    for path, time_s in ((theirs, 1000), (first, 2000)):
        os.utime(path, (time_s, time_s))
    mine.write(cells([2]), data())
    assert len(mine.index()) == 2
    assert SnapshotFolder(folder, 2700, OTHERS).index() == []
    (second,) = set(files(folder)) - {first}
    os.utime(second, (3000, 3000))
    assert mine.read(cells([1])) is not None, "and is now the one used last"
    mine.write(cells([3]), data())
    assert [int(one[0, 0]) for one in mine.index()] == [1, 3]
    assert sum(path.stat().st_size for path in files(folder)) <= 2700


def test_one_beyond_the_budget_is_not_written_and_drops_nothing(folder: Path) -> None:
    mine = SnapshotFolder(folder, 2700, MINE)
    mine.write(cells([1]), data())
    assert not mine.write(cells([2]), data(3000))
    assert len(mine.index()) == 1


def test_a_smaller_budget_holds_from_the_start(folder: Path) -> None:
    mine = SnapshotFolder(folder, LARGE, MINE)
    for token in range(3):
        mine.write(cells([token]), data())
    assert len(SnapshotFolder(folder, 1300, MINE).index()) == 1


def test_what_a_killed_process_left_is_removed_once_it_is_old(folder: Path) -> None:
    folder.mkdir(parents=True)
    old, new = folder / "a.kv.1.kv-part", folder / "b.kv.2.kv-part"
    for path, age_s in ((old, 7200), (new, 0)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s,) * 2)
    SnapshotFolder(folder, LARGE, MINE)
    assert files(folder) == [new]


def test_a_folder_that_cannot_be_written_costs_no_more_than_the_snapshot(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert not SnapshotFolder(blocked / "kv", LARGE, MINE).write(cells([1]), data())


def test_one_snapshot_a_conversation_is_written_and_replaced_by_its_successor(
    folder: Path,
) -> None:
    store = SnapshotStore(LARGE, folder=SnapshotFolder(folder, LARGE, MINE))
    for tokens, key in ([1, 2, 3, 4], 0), ([1, 2, 3, 4], 7), ([8, 9], 0):
        store.put(Snapshot(cells(tokens, key), data()))
    assert store.persist() == 2
    assert store.persist() == 0, "what is there is not written again"
    store.put(Snapshot(cells([1, 2, 3, 4, 5], 7), data()))
    assert store.persist() == 1
    assert sorted(one[0].tolist() for one in SnapshotFolder(folder, LARGE, MINE).index()) == [
        [1, 2, 3, 4, 5],
        [8, 9],
    ]


def test_a_store_looks_on_disk_too_and_takes_the_next_best_for_a_damaged_one(
    folder: Path,
) -> None:
    writer = SnapshotFolder(folder, LARGE, MINE)
    tokens = list(range(60))
    writer.write(cells(tokens), data(500))
    (path,) = files(folder)
    writer.write(cells(tokens[:30]), data(600))
    raw = path.read_bytes()
    path.write_bytes(flip(len(raw) - 1)(raw))
    store = SnapshotStore(LARGE, folder=SnapshotFolder(folder, LARGE, MINE))
    found = store.longest(cells([*tokens, 99]))
    assert found is not None
    assert (found[0].data.size, found[1], len(store)) == (600, 30, 1)


def test_the_disk_is_not_read_for_a_few_tokens(folder: Path) -> None:
    tokens = list(range(60))
    SnapshotFolder(folder, LARGE, MINE).write(cells(tokens), data())
    store = SnapshotStore(LARGE, folder=SnapshotFolder(folder, LARGE, MINE))
    assert store.longest(cells([*tokens, 99]), better_than=Match(50, 50)) is None
    assert store.longest(cells([*tokens, 99]), better_than=Match(40, 40)) is not None


def test_where_states_cannot_be_cut_half_a_conversation_replaces_nothing(folder: Path) -> None:
    shared = [1, 2, 3, 4]
    store = SnapshotStore(LARGE, n_least=lambda n: n, folder=SnapshotFolder(folder, LARGE, MINE))
    for tokens in ([*shared, 5], shared, [*shared, 6, 7]):
        store.put(Snapshot(cells(tokens), data()))
    assert store.persist() == 2
    assert sorted(one[0].tolist() for one in SnapshotFolder(folder, LARGE, MINE).index()) == [
        [*shared, 5],
        [*shared, 6, 7],
    ]


def test_a_fingerprint_tells_bases_and_settings_apart(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    whole = base_fingerprint(require_base(base), ["f16"])
    assert whole == base_fingerprint(require_base(base), ["f16"])
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(base.read_bytes())
    assert whole == base_fingerprint(require_base(copy), ["f16"]), "the place does not matter"
    assert whole != base_fingerprint(require_base(base), ["f32"])
    other = write_base(tmp_path / "other.gguf", seed=1)
    assert whole != base_fingerprint(require_base(other), ["f16"])


def test_a_change_in_any_tensor_or_part_changes_the_fingerprint(tmp_path: Path) -> None:
    parts = write_split(write_base(tmp_path / "base.gguf"), "parts", 3)
    before = base_fingerprint(require_base(parts[0]))
    header = require_base(parts[0])
    for tensor in header.tensors.values():
        raw = tensor.path.read_bytes()
        place = tensor.offset + tensor.size_bytes // 2
        tensor.path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert base_fingerprint(require_base(parts[0])) != before, tensor.name
        tensor.path.write_bytes(raw)
    assert base_fingerprint(require_base(parts[0])) == before


PROGRAM = (
    "import sys, json, msgspec\n"
    "from engine.protocol.values import BaseReference, LoadSpec\n"
    "from engine.runtime.runtime import Runtime\n"
    "from engine.protocol.settings import EngineSettings\n"
    "from engine.stack import AdapterStack\n"
    "spec, settings, stack, tokens = json.load(sys.stdin)\n"
    "settings = msgspec.convert(settings, EngineSettings)\n"
    "with Runtime(msgspec.convert(spec, LoadSpec), settings=settings) as runtime:\n"
    "    runtime.set_stack(msgspec.convert(stack, AdapterStack))\n"
    "    n_done = list(runtime.prefill(tokens))\n"
    "    print(json.dumps([n_done, runtime.context.logits().tolist()]))\n"
)


@pytest.mark.parametrize("memory", ["attention", "window", "recurrent", "hybrid"])
def test_another_process_goes_on_from_the_disk_bit_for_bit(
    tmp_path: Path, tiny: Tiny, memory: str
) -> None:
    base, adapter = tiny.base, tiny.first
    if memory != "attention":
        kind = msgspec.convert(memory, Memory)
        base = write_memory_base(tmp_path / "base.gguf", kind)
        path = write_memory_adapter(tmp_path / "adapter.gguf", base, kind, seed=1)
        adapter = read_adapter(path)
    spec = LoadSpec(BaseReference(str(base)), Parameters(num_thread=1, num_ctx=256))
    settings = EngineSettings(kv_disk_bytes=LARGE, cache_folder=str(tmp_path / "cache"))
    stack = stack_of([(adapter, 0.5)])
    tokens = [token % 50 + 20 for token in range(100)]
    longer = [*tokens, *range(30, 45)]
    with Runtime(spec, settings=settings) as runtime:
        runtime.set_stack(stack)
        list(runtime.prefill(tokens))
        assert runtime.persist() == 1
        list(runtime.prefill(longer))
        here = runtime.context.logits()
    job = json.dumps([msgspec.to_builtins(x) for x in (spec, settings, stack, longer)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=job, capture_output=True, text=True, check=True
    )
    n_done, there = json.loads(done.stdout)
    assert n_done[0] == 100
    assert np.array_equal(np.array(there, dtype=np.float32), here)


def test_a_damaged_disk_costs_an_evaluation_and_nothing_else(tmp_path: Path, tiny: Tiny) -> None:
    settings = EngineSettings(kv_disk_bytes=LARGE, cache_folder=str(tmp_path))
    tokens = [token % 50 + 20 for token in range(100)]
    with Runtime(tiny.spec(), settings=settings) as runtime:
        list(runtime.prefill(tokens))
        runtime.persist()
        here = runtime.context.logits()
    (path,) = files(tmp_path / "kv")
    raw = path.read_bytes()
    path.write_bytes(flip(len(raw) // 2)(raw))
    with Runtime(tiny.spec(), settings=settings) as runtime:
        assert list(runtime.prefill(tokens)) == [0, 100]
        assert np.array_equal(runtime.context.logits(), here)
    assert files(tmp_path / "kv") == []


def test_what_llama_cpp_refuses_is_removed_from_the_disk(tmp_path: Path, tiny: Tiny) -> None:
    settings = EngineSettings(kv_disk_bytes=LARGE, cache_folder=str(tmp_path))
    tokens = [token % 50 + 20 for token in range(100)]
    with Runtime(tiny.spec(), settings=settings) as runtime:
        folder = runtime.kv.snapshots.folder
        assert folder is not None
        folder.write(cells(tokens, stack_key(AdapterStack().digest)), data())
        assert list(runtime.prefill(tokens)) == [0, 100]
    assert files(tmp_path / "kv") == []


@pytest.mark.parametrize(
    "settings",
    [EngineSettings(kv_disk_bytes=LARGE), EngineSettings(cache_folder="set below")],
    ids=["no folder", "no budget"],
)
def test_nothing_is_written_unless_it_is_asked_for(
    tmp_path: Path, tiny: Tiny, settings: EngineSettings
) -> None:
    if settings.cache_folder is not None:
        settings = msgspec.structs.replace(settings, cache_folder=str(tmp_path))
    with Runtime(tiny.spec(), settings=settings) as runtime:
        list(runtime.prefill([30] * 50))
        assert runtime.persist() == 0
    assert files(tmp_path) == []


def test_settings_changed_later_are_in_force(tmp_path: Path, tiny: Tiny) -> None:
    with Runtime(tiny.spec()) as runtime:
        list(runtime.prefill([30] * 50))
        runtime.set_stack(AdapterStack())
        runtime.configure(EngineSettings(kv_disk_bytes=LARGE, cache_folder=str(tmp_path)))
        assert runtime.persist() == 1
        runtime.configure(EngineSettings(kv_memory_bytes=0))
        assert (len(runtime.kv.snapshots), runtime.persist()) == (0, 0)


def test_a_base_removed_while_it_is_loaded_runs_on_without_the_folder(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    with Runtime(LoadSpec(BaseReference(str(base)), Parameters(num_thread=1))) as runtime:
        base.unlink()
        runtime.configure(EngineSettings(cache_folder=str(tmp_path / "cache"), kv_disk_bytes=LARGE))
        assert runtime.persist() == 0
        assert list(runtime.prefill([1, 2, 3]))[-1] == 3
