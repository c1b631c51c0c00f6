"""Fused adapters are built beside the work: the newest wish only, and no failure is fatal."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.adapters.fusing.file import fused_stack
from engine.adapters.fusing.fuse import Fused, fuse
from engine.adapters.read import read_adapter
from engine.errors import AdapterError, Cancelled, EngineError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from engine.runtime.stacks import fuser as fuser_module
from engine.runtime.stacks.fused_files import FusedCache
from engine.runtime.stacks.fuser import Fuser
from engine.stack import Adapter, AdapterStack, stack_of
from tests.engine.conftest import Tiny
from tests.support.dense_delta import deltas_of
from tests.support.tiny_models import write_adapter

WAIT_S = 60.0


@pytest.fixture
def adapters(tiny: Tiny, tmp_path: Path) -> list[Adapter]:
    """Three adapters in files of the test's own."""
    return [
        read_adapter(write_adapter(tmp_path / f"{name}.gguf", tiny.base, rank=4, seed=seed))
        for seed, name in enumerate(("a", "b", "c"), start=11)
    ]


@pytest.fixture
def cache(tmp_path: Path) -> FusedCache:
    return FusedCache(tmp_path / "cache", 10**9)


@pytest.fixture
def fuser(cache: FusedCache) -> Iterator[Fuser]:
    with Fuser(cache) as fuser:
        yield fuser


@dataclass
class Gate:
    """Takes the place of `fuse`: notes what it was asked, may hold it up until it is cancelled."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[Fused | None] = field(default_factory=list)
    holds: bool = False
    started: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(
        self, parts: Any, out: Path, *, is_cancelled: Callable[[], bool], **more: Any
    ) -> Fused:
        self.calls.append({"scales": [part.scale for part in parts], **more})
        self.results.append(None)
        index = len(self.results) - 1

        def ask() -> bool:
            if self.holds and not self.started.is_set():
                self.started.set()
                while not (self.opened.wait(0.005) or is_cancelled()):
                    pass
            return is_cancelled()

        self.results[index] = fuse(parts, out, is_cancelled=ask, **more)
        return self.results[index]  # type: ignore[return-value]  # set in the line above


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(fuser_module, "fuse", gate)
    return gate


def built(fuser: Fuser, stack: AdapterStack) -> Path:
    fuser.want(stack)
    assert fuser.wait(WAIT_S)
    path = fuser.ready(stack.digest)
    assert path is not None, fuser.problem(stack.digest)
    return path


def test_a_wanted_stack_is_made_in_the_background(fuser: Fuser, adapters: list[Adapter]) -> None:
    a, b, c = adapters
    stack = stack_of([(a, 0.5), (b, -1.0), (c, 0.0)])
    assert fuser.ready(stack.digest) is None
    path = built(fuser, stack)
    expected = deltas_of([(a.file, 0.5), (b.file, -1.0)])
    found = deltas_of([(path, 1.0)])
    for name, delta in expected.items():
        assert np.allclose(found[name], delta, atol=2**-10 * np.abs(delta).max()), name
    assert fused_stack(read_header(path)) == tuple(stack.effective.items())
    assert fuser.problem(stack.digest) is None


def test_equal_content_under_two_names_is_summed(
    fuser: Fuser, adapters: list[Adapter], tmp_path: Path
) -> None:
    a, b, _ = adapters
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(a.file.read_bytes())
    stack = stack_of([(a, 0.5), (b, 1.0), (read_adapter(copy, "copy"), 0.25)])
    fused = fused_stack(read_header(built(fuser, stack)))
    assert fused is not None
    assert dict(fused) == {a.sha256: 0.75, b.sha256: 1.0}


def test_a_stack_of_fewer_than_two_needs_none(fuser: Fuser, adapters: list[Adapter]) -> None:
    a, b, _ = adapters
    for stack in (AdapterStack(), stack_of([(a, 1.0)]), stack_of([(a, 1.0), (b, 0.0)])):
        fuser.want(stack)
        assert fuser.wait(0)
        assert fuser.ready(stack.digest) is None


def test_a_newer_wish_gives_the_older_one_up(
    fuser: Fuser, adapters: list[Adapter], gate: Gate, cache: FusedCache
) -> None:
    a, b, c = adapters
    first, second = stack_of([(a, 1.0), (b, 1.0)]), stack_of([(a, 1.0), (c, 1.0)])
    gate.holds = True
    fuser.want(first)
    assert gate.started.wait(WAIT_S)
    fuser.want(stack_of([(b, 1.0), (c, 1.0)]))  # never begun
    fuser.want(second)
    assert fuser.wait(WAIT_S)
    assert fuser.ready(first.digest) is None
    assert fuser.problem(first.digest) is None
    path = fuser.ready(second.digest)
    assert path is not None
    assert len(gate.calls) == 2
    assert list(cache.folder.glob("*.gguf")) == [path]


def test_the_same_wish_again_lets_the_build_go_on(
    fuser: Fuser, adapters: list[Adapter], gate: Gate
) -> None:
    a, b, _ = adapters
    stack = stack_of([(a, 1.0), (b, 1.0)])
    gate.holds = True
    fuser.want(stack)
    assert gate.started.wait(WAIT_S)
    fuser.want(stack)
    gate.opened.set()
    assert built(fuser, stack)
    assert len(gate.calls) == 1


def test_a_wish_given_up_and_wanted_again_is_made(
    fuser: Fuser, adapters: list[Adapter], gate: Gate
) -> None:
    a, b, c = adapters
    stack = stack_of([(a, 1.0), (b, 1.0)])
    gate.holds = True
    fuser.want(stack)
    assert gate.started.wait(WAIT_S)
    fuser.want(stack_of([(a, 1.0), (c, 1.0)]))
    fuser.want(stack)
    assert built(fuser, stack)


def test_wanting_the_base_stops_the_build(
    fuser: Fuser, adapters: list[Adapter], gate: Gate, cache: FusedCache
) -> None:
    a, b, _ = adapters
    stack = stack_of([(a, 1.0), (b, 1.0)])
    gate.holds = True
    fuser.want(stack)
    assert gate.started.wait(WAIT_S)
    fuser.want(AdapterStack())
    assert fuser.wait(WAIT_S)
    assert fuser.ready(stack.digest) is None
    assert not list(cache.folder.glob("*.gguf"))


def test_a_rescale_rebuilds_b_only(fuser: Fuser, adapters: list[Adapter], gate: Gate) -> None:
    a, b, c = adapters
    stack = stack_of([(a, 1.0), (b, 0.5)])
    first = built(fuser, stack)
    built(fuser, stack.with_scale("b", -0.25))
    assert gate.calls[1]["previous"] == first
    built(fuser, stack.with_added(c))
    assert [result and result.is_a_copied for result in gate.results] == [False, True, False]


def test_a_stack_made_before_is_found_on_disk(
    cache: FusedCache, adapters: list[Adapter], gate: Gate
) -> None:
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 0.5)])
    with Fuser(cache) as fuser:
        path = built(fuser, stack)
    for path_of_adapter in (adapters[0].file, adapters[1].file):
        path_of_adapter.unlink()  # not needed any more
    with Fuser(cache) as fuser:
        assert built(fuser, stack) == path
        assert built(fuser, stack) == path
    assert len(gate.calls) == 1


def test_a_file_that_another_process_removed_is_made_again(
    fuser: Fuser, adapters: list[Adapter]
) -> None:
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 0.5)])
    path = built(fuser, stack)
    data = path.read_bytes()
    path.unlink()
    assert fuser.ready(stack.digest) is None
    assert built(fuser, stack).read_bytes() == data
    rescaled = stack.with_scale("a", 2.0)
    path.unlink()  # what a rescale would have copied A from
    assert built(fuser, rescaled)


def test_an_adapter_that_vanished_is_a_problem_in_words(
    fuser: Fuser, adapters: list[Adapter], caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c = adapters
    b.file.unlink()
    stack = stack_of([(a, 1.0), (b, 1.0)])
    fuser.want(stack)
    assert fuser.wait(WAIT_S)
    assert fuser.ready(stack.digest) is None
    assert b.path in (fuser.problem(stack.digest) or "")
    assert "stays layered" in caplog.text
    assert built(fuser, stack_of([(a, 1.0), (c, 1.0)]))  # the thread lives


def test_a_failed_stack_is_tried_again_after_another_only(
    fuser: Fuser, adapters: list[Adapter], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = adapters
    stack = stack_of([(a, 1.0), (b, 1.0)])

    def full(*_args: object, **_more: object) -> None:
        raise EngineError("No space left on device.")

    monkeypatch.setattr(fuser_module, "fuse", full)
    fuser.want(stack)
    assert fuser.wait(WAIT_S)
    monkeypatch.setattr(fuser_module, "fuse", gate)
    fuser.want(stack)
    assert fuser.wait(WAIT_S)
    assert fuser.problem(stack.digest) == "No space left on device."
    assert gate.calls == []
    fuser.want(stack_of([(a, 1.0), (c, 1.0)]))
    assert built(fuser, stack)
    assert fuser.problem(stack.digest) is None


def test_building_now_settles_an_earlier_problem(
    fuser: Fuser, adapters: list[Adapter], tmp_path: Path
) -> None:
    a, b, _ = adapters
    stack = stack_of([(a, 1.0), (b, 1.0)])
    moved = b.file.rename(tmp_path / "moved.gguf")
    fuser.want(stack)
    assert fuser.wait(WAIT_S)
    assert fuser.problem(stack.digest)
    moved.rename(b.file)
    assert fuser.build_now(stack)
    assert fuser.problem(stack.digest) is None


def test_changed_content_is_never_fused_as_the_old(
    fuser: Fuser, adapters: list[Adapter], tiny: Tiny
) -> None:
    a, b, _ = adapters
    stack = stack_of([(a, 1.0), (b, 1.0)])
    built(fuser, stack)
    write_adapter(b.file, tiny.base, rank=4, seed=99)
    os.utime(b.file, ns=(0, 0))
    rescaled = stack.with_scale("a", 0.5)
    fuser.want(rescaled)
    assert fuser.wait(WAIT_S)
    assert "has changed since it was added" in (fuser.problem(rescaled.digest) or "")


def test_a_touched_file_of_equal_content_is_fused(fuser: Fuser, adapters: list[Adapter]) -> None:
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 1.0)])
    built(fuser, stack)
    os.utime(adapters[0].file, ns=(0, 0))
    assert built(fuser, stack.with_scale("a", 0.5))


def test_an_unusable_folder_is_a_problem_in_words(adapters: list[Adapter], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 1.0)])
    with Fuser(FusedCache(tmp_path / "file", 10**9)) as fuser:
        fuser.want(stack)
        assert fuser.wait(WAIT_S)
        assert "cannot be kept in" in (fuser.problem(stack.digest) or "")
        with pytest.raises(EngineError, match="cannot be kept in"):
            fuser.build_now(stack)


def test_building_now_returns_the_file(fuser: Fuser, adapters: list[Adapter], gate: Gate) -> None:
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 0.5)])
    path = fuser.build_now(stack)
    assert path == fuser.ready(stack.digest) == fuser.build_now(stack)
    assert len(gate.calls) == 1
    adapters[1].file.unlink()
    with pytest.raises(EngineError, match="does not exist"):
        fuser.build_now(stack.with_scale("a", 2.0))
    with pytest.raises(AdapterError, match="nothing to fuse"):
        fuser.build_now(AdapterStack())
    assert fuser.wait(0)


def test_building_now_takes_over_from_the_background(
    fuser: Fuser, adapters: list[Adapter], gate: Gate
) -> None:
    a, b, c = adapters
    gate.holds = True
    other = stack_of([(a, 1.0), (c, 1.0)])
    fuser.want(other)
    assert gate.started.wait(WAIT_S)
    stack = stack_of([(a, 1.0), (b, 0.5)])
    assert fuser.build_now(stack) == fuser.ready(stack.digest)
    assert fuser.ready(other.digest) is None


def test_building_now_waits_for_a_build_under_way(
    fuser: Fuser, adapters: list[Adapter], gate: Gate
) -> None:
    gate.holds = True
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 1.0)])
    fuser.want(stack)
    assert gate.started.wait(WAIT_S)
    threading.Timer(0.05, gate.opened.set).start()
    assert fuser.build_now(stack) == fuser.ready(stack.digest)
    assert len(gate.calls) == 1


@pytest.mark.parametrize("b_type", [GgmlType.F16, GgmlType.F32])
def test_the_size_is_foretold(adapters: list[Adapter], b_type: Any) -> None:
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 0.5)])
    with Fuser(b_type=b_type) as fuser:
        foretold = fuser.fused_size_bytes(stack)
        assert fuser.build_now(stack).stat().st_size == foretold


def test_without_a_cache_folder_nothing_outlives_the_fuser(adapters: list[Adapter]) -> None:
    stack = stack_of([(adapters[0], 1.0), (adapters[1], 0.5)])
    with Fuser() as fuser:
        path = built(fuser, stack)
        assert path.is_file()
    assert not path.parent.exists()
    assert fuser.ready(stack.digest) is None
    fuser.want(stack)  # too late, and harmless
    assert fuser.wait(0)


def test_closing_gives_up_the_build_and_ends_the_thread(
    cache: FusedCache, adapters: list[Adapter], gate: Gate
) -> None:
    gate.holds = True
    fuser = Fuser(cache)
    fuser.want(stack_of([(adapters[0], 1.0), (adapters[1], 1.0)]))
    assert gate.started.wait(WAIT_S)
    fuser.close()
    assert "fuser" not in {thread.name for thread in threading.enumerate()}
    assert not list(cache.folder.glob("*.gguf"))
    with pytest.raises(Cancelled):
        fuser.build_now(stack_of([(adapters[0], 1.0), (adapters[2], 1.0)]))


def test_without_room_for_a_temporary_folder_a_build_fails_in_words(
    adapters: list[Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("engine.runtime.stacks.fuser.TemporaryDirectory", full)
    with Fuser() as fuser, pytest.raises(EngineError, match="No space left"):
        fuser.build_now(stack_of([(adapters[0], 1.0), (adapters[1], 1.0)]))
