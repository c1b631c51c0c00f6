"""Locks: one holder at a time, freed when the holder goes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelfiles.errors import StoreError
from modelfiles.state.locks import FileLock


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()
    second.release()


def test_whoever_waits_goes_on_when_the_lock_is_free(tmp_path: Path) -> None:
    order: list[str] = []
    held = FileLock(tmp_path / "lock")
    is_starting = threading.Event()

    def wait() -> None:
        is_starting.set()
        with FileLock(tmp_path / "lock"):
            order.append("waiter")

    with held:
        waiter = threading.Thread(target=wait)
        waiter.start()
        assert is_starting.wait(60)
        order.append("holder")
    waiter.join(60)
    assert order == ["holder", "waiter"]


def test_taking_a_lock_twice_is_an_error_not_a_standstill(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock, pytest.raises(StoreError, match="already held"):
        lock.try_acquire()


def test_releasing_a_free_lock_is_harmless(tmp_path: Path) -> None:
    FileLock(tmp_path / "lock").release()
