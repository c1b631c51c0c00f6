"""Bad input to the real command line: one clear sentence, the right exit code, nothing created."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import Ended, run_tui, write_model_files
from tests.support.tiny_models import write_adapter, write_base


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, adapters that fit it and files that do not."""
    folder = tmp_path_factory.mktemp("bad-input")
    write_model_files(folder)
    other = write_base(folder / "gemma.gguf", architecture="gemma")
    write_adapter(folder / "gemma-adapter.gguf", other)
    deeper = write_base(folder / "deeper.gguf", n_layer=3)
    write_adapter(folder / "deeper-adapter.gguf", deeper)
    whole = (folder / "base.gguf").read_bytes()
    (folder / "truncated.gguf").write_bytes(whole[: len(whole) // 2])
    (folder / "cut-header.gguf").write_bytes(whole[:100])
    (folder / "garbage.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 8)
    (folder / "text.gguf").write_text("This is no model.\n" * 20)
    (folder / "empty.gguf").touch()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def assert_one_sentence(ended: Ended, code: int, *parts: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1
    for part in parts:
        assert part in ended.err


def assert_nothing_created(home: Path) -> None:
    """No manifest and no blob is there, whole or half-written."""
    assert [path for path in home.rglob("*") if path.is_file() and path.stat().st_size] == []


BASE = "FROM ./base.gguf\n"


@pytest.mark.parametrize(
    ("modelfile", "parts"),
    [
        ("FROM ./missing.gguf\n", ["Modelfile:1: ", "missing.gguf"]),
        ("FROM nobody\n", ["Modelfile:1: ", "nobody"]),
        (f"{BASE}ADAPTER ./missing.gguf\n", ["Modelfile:2: ", "missing.gguf"]),
        ("# first\nFROM ./loud.gguf\n", ["Modelfile:2: ", "loud.gguf is an adapter, not a model"]),
        (f"{BASE}\nADAPTER ./base.gguf\n", ["Modelfile:3: ", "base.gguf"]),
        (
            f"{BASE}ADAPTER ./loud.gguf\nADAPTER ./gemma-adapter.gguf\n",
            ["Modelfile:3: ", "gemma-adapter.gguf", "gemma"],
        ),
        (f"{BASE}ADAPTER ./deeper-adapter.gguf\n", ["Modelfile:2: ", "deeper-adapter.gguf"]),
        ("FROM ./truncated.gguf\n", ["Modelfile:1: ", "truncated.gguf"]),
        ("FROM ./cut-header.gguf\n", ["Modelfile:1: ", "cut-header.gguf"]),
        ("FROM ./garbage.gguf\n", ["Modelfile:1: ", "garbage.gguf"]),
        ("FROM ./text.gguf\n", ["Modelfile:1: ", "text.gguf is not a GGUF file"]),
        ("FROM ./empty.gguf\n", ["Modelfile:1: ", "empty.gguf"]),
        (f"{BASE}ADAPTER ./garbage.gguf\n", ["Modelfile:2: ", "garbage.gguf"]),
        ("", ["Modelfile:1: ", "no FROM line"]),
        ("# nothing\n", ["Modelfile:1: ", "no FROM line"]),
        (f"{BASE}FORM ./x\n", ["Modelfile:2: ", "command must be one of"]),
        (f"{BASE}PARAMETER warmth 2\n", ["Modelfile:2: ", "unknown parameter 'warmth'"]),
        (f"{BASE}PARAMETER top_k few\n", ["Modelfile:2: ", "invalid int value [few]"]),
        (f"{BASE}ADAPTER ./loud.gguf scale=loud\n", ["Modelfile:2: ", "scale", "loud"]),
        (f"{BASE}ADAPTER ./loud.gguf scale=nan\n", ["Modelfile:2: ", "scale", "nan"]),
        (f'{BASE}SYSTEM """never closed\n', ["Modelfile:2: "]),
    ],
    ids=lambda value: value.strip().replace("\n", " / ") if isinstance(value, str) else "",
)
def test_create_says_what_is_wrong_and_where_and_creates_nothing(
    modelfile: str, parts: list[str], files: Path, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for file in files.glob("*.gguf"):
        (folder / file.name).hardlink_to(file)
    (folder / "Modelfile").write_text(modelfile)
    assert_one_sentence(run_tui("create", "mine", home=home, folder=folder), 1, *parts)
    assert_nothing_created(home)


@pytest.mark.parametrize("name", ["../evil", "a/../b", "..", "with space", "", "a:b:c/"])
def test_create_refuses_a_name_that_breaks_the_rules(name: str, files: Path, home: Path) -> None:
    assert_one_sentence(run_tui("create", name, home=home, folder=files), 1, "invalid model name")
    assert_nothing_created(home)


@pytest.mark.parametrize(
    ("arguments", "file"),
    [(["create", "mine"], "Modelfile"), (["create", "mine", "-f", "Other"], "Other")],
)
def test_create_without_its_modelfile_is_an_error(
    arguments: list[str], file: str, home: Path, tmp_path: Path
) -> None:
    ended = run_tui(*arguments, home=home, folder=tmp_path)
    assert_one_sentence(ended, 1, f"There is no file '{file}'")
    assert_nothing_created(home)


def test_create_from_a_folder_is_an_error(home: Path, tmp_path: Path) -> None:
    ended = run_tui("create", "mine", "-f", ".", home=home, folder=tmp_path)
    assert_one_sentence(ended, 1, "'.'", "Is a directory")


def test_create_from_a_model_file_says_how_to_name_it(files: Path, home: Path) -> None:
    ended = run_tui("create", "mine", "-f", "base.gguf", home=home, folder=files)
    assert_one_sentence(ended, 1, "'base.gguf' is no Modelfile: write one that says FROM")
    assert_nothing_created(home)


def test_a_home_that_is_a_file_is_an_error(files: Path, home: Path) -> None:
    home.write_text("not a folder")
    assert_one_sentence(run_tui("create", "mine", home=home, folder=files), 1, "home")


def test_create_without_space_left_is_an_error_and_creates_nothing(files: Path, home: Path) -> None:
    ended = run_tui("create", "mine", home=home, folder=files, before=allow_files_of(64))
    assert_one_sentence(ended, 1, "space")
    listed = run_tui("list", "mine", "--json", home=home, folder=files)
    assert (listed.code, listed.out) == (0, "[]\n")


def test_output_that_finds_no_space_left_is_an_error(
    files: Path, home: Path, tmp_path: Path
) -> None:
    with (tmp_path / "list.txt").open("wb") as output:
        ended = run_tui(
            "list", home=home, folder=files, before=allow_files_of(0), output=output.fileno()
        )
    assert_one_sentence(ended, 1, "There is no space left to write the output")


def allow_files_of(size_bytes: int) -> Callable[[], None]:
    """Return what makes every file of a child process fail to grow beyond a size."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


UNKNOWN = ["show nobody", "run nobody Hello", "cp nobody other", "rm nobody", "rm demo"]


@pytest.mark.parametrize("arguments", UNKNOWN)
def test_a_model_that_is_not_there_is_an_error(arguments: str, files: Path, home: Path) -> None:
    name = arguments.split()[1]
    ended = run_tui(*arguments.split(), home=home, folder=files)
    assert_one_sentence(ended, 1, name)
    assert_nothing_created(home)


@pytest.fixture(scope="module")
def tiny_home(files: Path) -> Path:
    """A home that knows the model `tiny`."""
    home = files / "home"
    assert run_tui("create", "tiny", home=home, folder=files).code == 0
    return home


@pytest.mark.parametrize(
    ("lora", "parts"),
    [
        (
            "missing.gguf",
            ['There is no adapter "missing.gguf": it is neither a file', "(loud, calm)"],
        ),
        ("base.gguf", ["base.gguf"]),
        ("gemma-adapter.gguf", ["gemma-adapter.gguf", "gemma"]),
        ("deeper-adapter.gguf", ["deeper-adapter.gguf"]),
        ("garbage.gguf", ["garbage.gguf"]),
        ("text.gguf", ["text.gguf is not a GGUF file"]),
    ],
)
def test_run_refuses_an_adapter_that_cannot_be_used(
    lora: str, parts: list[str], files: Path, tiny_home: Path
) -> None:
    ended = run_tui("run", "tiny", "Hello", "--lora", lora, home=tiny_home, folder=files)
    assert_one_sentence(ended, 1, *parts)


def test_run_with_nothing_to_answer_is_wrong_use(files: Path, tiny_home: Path) -> None:
    ended = run_tui("run", "tiny", home=tiny_home, folder=files, stdin=" \n")
    assert_one_sentence(ended, 2, "nothing to answer")


def test_run_takes_bytes_that_are_not_utf8(files: Path, tiny_home: Path) -> None:
    strange = os.fsdecode(b"\xff\xfe.gguf")
    ended = run_tui("run", "tiny", strange, home=tiny_home, folder=files)
    assert (ended.code, ended.err) == (0, "")
    shutil.copy(files / "loud.gguf", files / strange)
    ended = run_tui("run", "tiny", "Hi", "--lora", strange, home=tiny_home, folder=files)
    note, error = ended.err.splitlines()
    assert note.endswith("is the same adapter as loud: their scales add up.")
    assert error.startswith("Error: ")
    assert "UTF-8" in error
    assert ended.code == 1


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_closed_stream_is_no_reason_to_fail(
    descriptor: int, files: Path, tiny_home: Path
) -> None:
    ended = run_tui(
        *("run", "tiny", "Hello", "--verbose"),
        home=tiny_home,
        folder=files,
        before=lambda: os.close(descriptor),
    )
    assert ended.code == 0
    assert bool(ended.out) == (descriptor != 1)
    assert ended.err.startswith("stack: ") == (descriptor != 2)


def test_a_json_run_that_fails_leaves_stdout_empty(files: Path, tiny_home: Path) -> None:
    ended = run_tui("run", "tiny", "Hi", "--json", "--lora", "x", home=tiny_home, folder=files)
    assert_one_sentence(ended, 1, 'There is no adapter "x"')


def test_a_stored_base_that_was_damaged_is_named(files: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert run_tui("create", "tiny", home=home, folder=files).code == 0
    blob = max(home.rglob("sha256-*"), key=lambda path: path.stat().st_size)
    blob.chmod(0o600)
    data = blob.read_bytes()
    blob.unlink()  # the blob may share its data with the file it was made from
    blob.write_bytes(data[:1000])
    ended = run_tui("run", "tiny", "Hello", home=home, folder=files)
    assert_one_sentence(ended, 1, "model tiny:latest is damaged: the file of its base is missing")
    assert blob.name not in ended.err
