"""The model store under several processes: two creates at once, a killed one, a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelfiles.model import Model
from modelfiles.store.created import ModelStore
from modelfiles.store.packaged import PackagedModels
from tests.modelfiles.user_files import Folder
from tests.support.places import ROOT

CHILD = Path(__file__).parent / "store_child.py"
TIMEOUT_S = 120
SIZE_BYTES = 3 * 2**20

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Start `store_child.py` on this test's store; whatever still runs at the end is killed."""
    children: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, str(CHILD), str(home), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def copying(child: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Wait until the child is in the middle of copying."""
    assert child.stdout is not None
    assert child.stdout.readline() == "copying\n"
    return child


def finished(child: subprocess.Popen[str]) -> str:
    """Let the child go on and return what it says at its end."""
    output, _ = child.communicate("\n", timeout=TIMEOUT_S)
    return output.strip()


@pytest.fixture
def plain_store(home: Path) -> ModelStore:
    return ModelStore(home, PackagedModels({}))


def base(folder: Folder, name: str) -> Path:
    return folder.gguf(f"{name}.gguf", name * (SIZE_BYTES // len(name)))


def staged(home: Path) -> list[Path]:
    return list((home / "models" / "staging").iterdir())


def n_blobs(home: Path) -> int:
    return len(list((home / "models" / "blobs").iterdir()))


def test_two_creates_of_different_names_at_once_both_succeed(
    folder: Folder, plain_store: ModelStore, home: Path, start: Start
) -> None:
    paths = {name: base(folder, name) for name in ("one", "two")}
    children = [copying(start("create", n, str(path), "hold")) for n, path in paths.items()]
    assert len(staged(home)) == 2
    assert [finished(child) for child in children] == ["done", "done"]
    assert {listed.name for listed in plain_store.list()} == {"one:latest", "two:latest"}
    for name, path in paths.items():
        assert plain_store.get(name).base.read_bytes() == path.read_bytes()
    assert staged(home) == []


def test_two_creates_of_one_name_at_once_leave_one_whole_model(
    folder: Folder, plain_store: ModelStore, home: Path, start: Start
) -> None:
    first, second = base(folder, "one"), base(folder, "two")
    children = [copying(start("create", "m", str(p), "hold")) for p in (first, second)]
    assert finished(children[1]) == "done"
    assert plain_store.get("m").base.read_bytes() == second.read_bytes()
    assert finished(children[0]) == "done"
    assert plain_store.get("m").base.read_bytes() == first.read_bytes()
    assert (len(plain_store.list()), n_blobs(home), staged(home)) == (1, 1, [])


def test_the_same_file_created_twice_at_once_is_kept_once(
    folder: Folder, plain_store: ModelStore, home: Path, start: Start
) -> None:
    path = base(folder, "one")
    children = [copying(start("create", name, str(path), "hold")) for name in ("a", "b")]
    assert [finished(child) for child in children] == ["done", "done"]
    assert n_blobs(home) == 1
    assert plain_store.get("a").base == plain_store.get("b").base


def test_a_model_removed_during_a_create_takes_no_file_of_it(
    folder: Folder, plain_store: ModelStore, start: Start
) -> None:
    path = base(folder, "one")
    plain_store.create("old", Model("", path))
    child = copying(start("create", "new", str(path), "hold"))
    assert finished(start("remove", "old")) == "done"
    assert finished(child) == "done"
    assert plain_store.get("new").base.read_bytes() == path.read_bytes()


def test_a_base_in_the_store_that_vanishes_meanwhile_is_one_sentence(
    folder: Folder, plain_store: ModelStore, start: Start
) -> None:
    plain_store.create("old", Model("", base(folder, "one")))
    inherited = plain_store.get("old").base
    plain_store.remove("old")
    message = finished(start("create", "new", str(inherited)))
    assert message.startswith("cannot create new:latest: No such file or directory: ")
    assert plain_store.list() == []


def test_a_killed_create_leaves_nothing_listed_and_its_files_go_with_the_next(
    folder: Folder, plain_store: ModelStore, home: Path, start: Start
) -> None:
    child = copying(start("create", "dead", str(base(folder, "one")), "hold"))
    child.kill()
    child.wait(timeout=TIMEOUT_S)
    assert plain_store.list() == []
    assert n_blobs(home) == 0
    assert len(staged(home)) == 1, "the test must have killed it in the middle"
    plain_store.create("next", Model("", folder.gguf("small.gguf")))
    assert staged(home) == []
    assert [listed.name for listed in plain_store.list()] == ["next:latest"]


def test_the_files_of_a_create_that_still_runs_are_not_swept(
    folder: Folder, plain_store: ModelStore, home: Path, start: Start
) -> None:
    path = base(folder, "one")
    child = copying(start("create", "slow", str(path), "hold"))
    plain_store.create("quick", Model("", folder.gguf("small.gguf")))
    assert len(staged(home)) == 1
    assert finished(child) == "done"
    assert plain_store.get("slow").base.read_bytes() == path.read_bytes()


def test_blobs_of_a_create_killed_before_its_manifest_go_with_the_next_change(
    folder: Folder, plain_store: ModelStore, home: Path
) -> None:
    plain_store.create("mine", Model("", folder.gguf("small.gguf")))
    (home / "models" / "blobs" / ("sha256-" + "0" * 64)).write_bytes(b"orphan")
    plain_store.copy("mine", "yours")
    assert n_blobs(home) == 1


def test_a_full_disk_is_one_sentence_and_creates_nothing(
    folder: Folder, plain_store: ModelStore, home: Path, start: Start
) -> None:
    path = base(folder, "one")
    message = finished(start("limit", "mine", str(path), str(2**20)))
    assert message == (
        f"cannot create mine:latest: there is no space left for it in {home};"
        " free some and try again"
    )
    assert (plain_store.list(), n_blobs(home), staged(home)) == ([], 0, [])


def test_a_disk_too_full_for_the_manifest_keeps_the_model_that_was_there(
    folder: Folder, plain_store: ModelStore, home: Path, start: Start
) -> None:
    before = plain_store.create("mine", Model("", folder.gguf("small.gguf"), system="Keep me."))
    message = finished(start("limit", "mine", str(folder.gguf("tiny.gguf")), "16"))
    assert "no space left" in message
    assert plain_store.list() == [before]
    assert plain_store.get("mine").base.read_bytes() == b"GGUFsmall.gguf"
    assert staged(home) == []
