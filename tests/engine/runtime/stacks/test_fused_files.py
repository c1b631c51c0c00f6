"""Fused adapters on disk: intact or rebuilt, the least recently used go first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.adapters.fusing.fuse import fuse
from engine.adapters.scaled_adapter import part_of
from engine.errors import EngineError
from engine.gguf.ggml_type import GgmlType
from engine.llama.adapter import LoraAdapter
from engine.llama.model import Model
from engine.runtime.stacks.fused_files import FusedCache
from tests.engine.conftest import Tiny

Write = Callable[[Path], object]


@pytest.fixture
def write(tiny: Tiny) -> Write:
    """Writes a real fused adapter."""
    parts = [part_of(tiny.first, 0.5), part_of(tiny.second, 0.25)]
    return lambda out: fuse(parts, out)


@pytest.fixture
def size_bytes(write: Write, tmp_path: Path) -> int:
    write(tmp_path / "one.gguf")
    return (tmp_path / "one.gguf").stat().st_size


def files_in(cache: FusedCache) -> list[str]:
    return sorted(path.stem for path in cache.folder.glob("*.gguf"))


def age(path: Path, hours: int) -> None:
    """Make a file as if it was written and used that long ago."""
    past_ns = path.stat().st_mtime_ns - hours * 3600 * 10**9
    os.utime(path, ns=(past_ns, past_ns))


def test_what_was_built_is_found_by_another_run(tmp_path: Path, write: Write) -> None:
    folder = tmp_path / "cache"
    built = FusedCache(folder, 10**9).build("one", write)
    again = FusedCache(folder, 10**9)
    assert again.find("one") == built
    assert again.find("two") is None
    assert again.size_bytes() == built.stat().st_size


def test_nothing_is_written_before_something_is_built(tmp_path: Path) -> None:
    cache = FusedCache(tmp_path / "cache", 10**9)
    assert cache.find("one") is None
    assert cache.size_bytes() == 0
    assert not cache.folder.exists()


def test_the_key_tells_stacks_and_types_apart() -> None:
    keys = {
        FusedCache.key(digest, b_type)
        for digest in ("ab", "cd")
        for b_type in (GgmlType.F16, GgmlType.F32)
    }
    assert len(keys) == 4


def test_the_least_recently_used_goes_first(tmp_path: Path, write: Write, size_bytes: int) -> None:
    cache = FusedCache(tmp_path / "cache", 3 * size_bytes)
    for hours, key in ((4, "a"), (3, "b"), (2, "c")):
        age(cache.build(key, write), hours)
    assert files_in(cache) == ["a", "b", "c"]
    assert cache.find("a") is not None  # used just now
    cache.build("d", write)
    assert files_in(cache) == ["a", "c", "d"]


def test_use_counts_without_looking_like_a_change(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not even read, which some file systems note as a use and others do not.
    monkeypatch.setattr("engine.runtime.stacks.fused_files.is_intact", Path.is_file)
    cache = FusedCache(tmp_path / "cache", 10**9)
    path = cache.build("a", write)
    age(path, 1)
    before = path.stat()
    cache.find("a")
    after = path.stat()
    assert after.st_mtime_ns == before.st_mtime_ns
    assert after.st_atime_ns > before.st_atime_ns


def test_the_new_file_stays_even_beyond_the_budget(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedCache, "spared_s", -1.0)  # recent use saves nothing
    cache = FusedCache(tmp_path / "cache", 1)
    age(cache.build("a", write), 1)
    cache.build("b", write)
    assert files_in(cache) == ["b"]


def test_a_file_used_a_moment_ago_is_spared(tmp_path: Path, write: Write) -> None:
    cache = FusedCache(tmp_path / "cache", 1)
    cache.build("a", write)
    cache.build("b", write)
    assert files_in(cache) == ["a", "b"]


def test_a_loaded_adapter_survives_the_removal_of_its_file(
    tiny: Tiny, tmp_path: Path, write: Write
) -> None:
    cache = FusedCache(tmp_path / "cache", 1)
    path = cache.build("a", write)
    with Model(tiny.base) as model, LoraAdapter(model, path):
        age(path, 1)
        cache.build("b", write)
        assert not path.exists()


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_damaged_file_is_removed_and_built_again(
    tmp_path: Path, write: Write, place: float
) -> None:
    cache = FusedCache(tmp_path / "cache", 10**9)
    path = cache.build("a", write)
    sound = path.read_bytes()
    at = int(len(sound) * place)
    path.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
    assert cache.find("a") is None
    assert not path.exists()
    assert cache.build("a", write).read_bytes() == sound


def test_a_truncated_file_is_removed(tmp_path: Path, write: Write) -> None:
    cache = FusedCache(tmp_path / "cache", 10**9)
    path = cache.build("a", write)
    os.truncate(path, path.stat().st_size // 2)
    assert cache.find("a") is None
    assert files_in(cache) == []


def test_a_failed_build_leaves_the_cache_as_it_was(tmp_path: Path, write: Write) -> None:
    cache = FusedCache(tmp_path / "cache", 10**9)
    cache.build("a", write)

    def fail(out: Path) -> None:
        out.write_bytes(b"half")
        raise EngineError("The disk is full.")

    with pytest.raises(EngineError, match="full"):
        cache.build("b", fail)
    assert files_in(cache) == ["a"]
    assert not list((cache.folder / "staging").iterdir())


CHILD = """
import os, signal, sys
from pathlib import Path
from engine.adapters.fusing.fuse import fuse
from engine.adapters.scaled_adapter import part_of
from engine.adapters.read import read_adapter
from engine.runtime.stacks.fused_files import FusedCache

folder, key, mode, *paths = sys.argv[1:]
parts = [part_of(read_adapter(Path(path)), 0.5) for path in paths]

def write(out):
    if mode == "killed":
        fuse(parts, out)
        os.kill(os.getpid(), signal.SIGKILL)
    print("building", flush=True)
    sys.stdin.readline()
    fuse(parts, out)

FusedCache(Path(folder), 10**9).build(key, write)
"""


def child(folder: Path, key: str, mode: str, tiny: Tiny) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), key, mode, tiny.first.path, tiny.second.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_a_killed_build_left_is_swept_by_the_next(
    tiny: Tiny, tmp_path: Path, write: Write
) -> None:
    cache = FusedCache(tmp_path / "cache", 10**9)
    with child(cache.folder, "a", "killed", tiny) as process:
        process.communicate()
    assert process.returncode != 0
    assert files_in(cache) == []
    assert list((cache.folder / "staging").glob("*/*.gguf"))
    cache.build("b", write)
    assert not list((cache.folder / "staging").iterdir())


def test_processes_build_one_key_at_the_same_time(tiny: Tiny, tmp_path: Path) -> None:
    cache = FusedCache(tmp_path / "cache", 10**9)
    processes = [child(cache.folder, "a", "waits", tiny) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
    # Both are in the middle of a build, and a third is started and finished meanwhile.
    parts = [part_of(tiny.first, 0.5), part_of(tiny.second, 0.5)]
    path = cache.build("a", lambda out: fuse(parts, out))
    expected = path.read_bytes()
    for process in processes:
        with process:
            process.communicate("\n")
        assert process.returncode == 0
        assert cache.find("a") == path
        assert path.read_bytes() == expected
    assert not list((cache.folder / "staging").iterdir())
