"""Files and folders take their place whole, and what was there stands until they do."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from engine.disk.whole_output import new_file, new_folder, sweep_parts
from engine.errors import EngineError
from modelfiles.state.locks import FileLock


def fill(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "one").write_text(text)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_takes_the_place_of_an_older_one_with_nothing_of_it_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "older")
    (out / "two").write_text("older")
    with new_folder(out, "The folder") as folder:
        fill(folder, "newer")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"one": "newer"}
    assert names_in(tmp_path) == {"out"}


def test_an_older_folder_is_whole_until_the_new_one_stands_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    fill(out, "older")
    seen = []
    remove = shutil.rmtree

    def looking_first(path: Path, *, ignore_errors: bool = False) -> None:
        seen.append((out / "one").read_text())
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", looking_first)
    with new_folder(out, "The folder") as folder:
        fill(folder, "newer")
    assert set(seen) == {"newer"}


def test_an_older_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    fill(out, "older")
    rename = Path.rename

    def refusing(path: Path, target: Path) -> Path:
        if (path / "newer").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with (
        pytest.raises(EngineError, match="cannot be written: No space left"),
        new_folder(out, "The folder") as folder,
    ):
        (folder / "newer").write_text("")
    assert (out / "one").read_text() == "older"
    assert names_in(tmp_path) == {"out"}


def test_what_a_killed_process_left_goes_with_the_next_file_of_that_name(tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    stale = tmp_path / f".out.gguf.{'0' * 32}.part"
    of_another = tmp_path / f".other.gguf.{'0' * 32}.part"
    for path in (stale, of_another):
        path.write_bytes(b"x")
    with new_file(out, "The file") as file:
        file.write(b"whole")
    assert names_in(tmp_path) == {"out.gguf", of_another.name}


def test_what_a_killed_process_left_goes_with_the_next_folder_of_that_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stale = tmp_path / f".out.{'0' * 32}.part"
    fill(stale, "half")
    with new_folder(out, "The folder") as folder:
        assert not stale.exists()
        fill(folder, "first")
        with new_folder(out, "The folder") as other:
            fill(other, "second")
        assert (out / "one").read_text() == "second"
    assert (out / "one").read_text() == "first"
    assert names_in(tmp_path) == {"out"}


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("is_swept_before", [False, True])
def test_what_another_process_sweeps_before_it_is_locked_is_never_taken_for_whole(
    is_folder: bool, is_swept_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    acquire = FileLock.try_acquire

    def too_late(lock: FileLock) -> bool:
        monkeypatch.setattr(FileLock, "try_acquire", acquire)
        if is_swept_before:
            sweep_parts(out)
            return lock.try_acquire()
        (part,) = tmp_path.iterdir()
        with FileLock(part / "lock" if is_folder else part):
            return lock.try_acquire()

    monkeypatch.setattr(FileLock, "try_acquire", too_late)
    make = new_folder if is_folder else new_file
    with pytest.raises(EngineError, match="another process writes it"), make(out, "The output"):
        pytest.fail("it was not asked whether it still is there")
    assert list(tmp_path.iterdir()) == []
