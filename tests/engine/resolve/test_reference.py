"""Which adapter a reference means: one order, one wording."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.resolve.reference import (
    AdapterNotFoundError,
    find_adapter,
    gguf_of,
    resolve_adapter,
)
from engine.resolve.watch import Watch
from modelfiles.errors import ModelfilesError, ReferenceNotFoundError
from tests.support.named_adapters import NAME, Shelf, shelf_in


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = shelf_in(tmp_path)
    monkeypatch.setenv("LORA_TUI_HOME", str(shelf.home))
    monkeypatch.chdir(tmp_path)
    return shelf


def test_the_stack_comes_first_then_a_path_then_what_was_pulled(shelf: Shelf) -> None:
    shelf.pull(shelf.pulled)
    assert resolve_adapter(NAME).path == shelf.pulled
    file = shelf.file()
    assert resolve_adapter(NAME).path == file
    found = resolve_adapter(NAME, stack=shelf.model.adapters)
    assert (found.path, found.spec) == (shelf.stacked, shelf.model.adapters[0])
    assert resolve_adapter(f"./{NAME}", stack=shelf.model.adapters).path == file


def test_an_existing_path_comes_before_the_hub(shelf: Shelf) -> None:
    file = shelf.file("hf.co/ann/lora")
    assert resolve_adapter("hf.co/ann/lora").path == file


def test_a_relative_path_starts_at_the_folder_that_is_given(shelf: Shelf) -> None:
    file = shelf.file("inner/style.gguf")
    assert resolve_adapter("style.gguf", folder=shelf.folder / "inner").path == file


@pytest.mark.parametrize("typed", ["'{}'", '"{}"', " {}", "{} ", "' {}'"])
def test_a_pasted_path_may_stand_in_quotes_and_blanks(shelf: Shelf, typed: str) -> None:
    file = shelf.file("my style.gguf")
    if typed == "' {}'":  # a blank inside the quotes is part of the name
        with pytest.raises(ReferenceNotFoundError):
            resolve_adapter(typed.format(file))
    else:
        assert resolve_adapter(typed.format(file)).path == file


def test_a_file_whose_name_has_quotes_is_that_file(shelf: Shelf) -> None:
    quoted, plain = shelf.file("'a.gguf'"), shelf.file("a.gguf")
    assert resolve_adapter("'a.gguf'").path == quoted
    assert resolve_adapter("a.gguf").path == plain


def test_the_home_folder_may_be_short(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shelf.file("style.gguf")
    monkeypatch.setenv("HOME", str(shelf.folder))
    assert resolve_adapter("~/style.gguf").path == file


def test_what_leads_to_the_file_of_the_stack_is_that_adapter(shelf: Shelf) -> None:
    spec = shelf.model.adapters[0]
    (shelf.folder / "link.gguf").symlink_to(shelf.stacked)
    shelf.pull(shelf.stacked, "fetched")
    for reference in (str(shelf.stacked), "far/stacked.gguf", "link.gguf", "fetched"):
        assert resolve_adapter(reference, stack=shelf.model.adapters).spec == spec
    assert resolve_adapter("far/pulled.gguf", stack=shelf.model.adapters).spec is None


def test_a_pulled_adapter_keeps_its_name_and_its_address(shelf: Shelf) -> None:
    shelf.pull(shelf.pulled)
    found = resolve_adapter("Pirate")
    assert (found.name, found.shown) == ("pirate", "hf.co/ann/pirate")
    assert gguf_of(found, shelf.base).name == "pirate"


@pytest.mark.parametrize("form", ["folder", "weights", "mlx"])
def test_another_programs_adapter_is_converted_for_the_base(shelf: Shelf, form: str) -> None:
    folder = shelf.mlx("My Style") if form == "mlx" else shelf.peft("My Style")
    path = folder / "adapter_model.safetensors" if form == "weights" else folder
    told: list[str] = []
    spec = gguf_of(resolve_adapter(str(path)), shelf.base, watch=Watch(tell=told.append))
    assert spec.name == "My-Style"
    assert spec.path.parent == shelf.home / "cache" / "converted"
    assert told[0] == f"{path} was converted for Tiny."


def test_a_folder_with_one_gguf_is_that_file_whatever_lies_beside_it(shelf: Shelf) -> None:
    shelf.peft("style")
    file = shelf.file("style/ready.gguf")
    assert gguf_of(resolve_adapter("style"), shelf.base).path == file
    shelf.file("style/other.gguf")
    with pytest.raises(ModelfilesError, match="holds 2 GGUF files"):
        gguf_of(resolve_adapter("style"), shelf.base)


def test_a_gguf_file_is_one_whatever_its_name(shelf: Shelf) -> None:
    file = shelf.file("style.bin")
    assert gguf_of(resolve_adapter("style.bin"), shelf.base).path == file


def test_what_is_not_found_says_what_was_tried_and_the_nearest_name(shelf: Shelf) -> None:
    shelf.pull(shelf.pulled, "sql-lora")
    with pytest.raises(AdapterNotFoundError) as raised:
        resolve_adapter("pirat", stack=shelf.model.adapters)
    assert str(raised.value) == (
        'There is no adapter "pirat" (did you mean "pirate"?): it is neither a file, in the stack'
        " (pirate) nor pulled ('tui list --adapters')."
    )
    with pytest.raises(AdapterNotFoundError, match=r'"sql-lra" \(did you mean "sql-lora"'):
        resolve_adapter("sql-lra")


WRONG = [
    ("", "There is no adapter"),
    (" ", "There is no adapter"),
    ("nobody", "it is neither a file nor pulled"),
    ("./missing.gguf", "There is no file or folder"),
    ("user/repo", "There is no file or folder"),
    ("~no-such-user-here/x", "there is no such user's home folder"),
    ("a\0b", "holds a NUL character"),
    ("x" * 5000, "There is no adapter"),
    ("hf.co/user", "is no repository of the Hugging Face Hub"),
    ("empty", "holds no GGUF file"),
    ("notes.txt", "is not a GGUF file"),
    ("pipe.gguf", "it is no regular file"),
]


@pytest.mark.parametrize(("reference", "part"), WRONG, ids=lambda text: text[:20] or "nothing")
def test_wrong_input_gets_one_sentence(shelf: Shelf, reference: str, part: str) -> None:
    (shelf.folder / "empty").mkdir()
    (shelf.folder / "notes.txt").write_text("nothing to see")
    os.mkfifo(shelf.folder / "pipe.gguf")
    with pytest.raises((EngineError, ModelfilesError)) as raised:
        gguf_of(resolve_adapter(reference), shelf.base)
    assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()


def test_an_adapter_line_gets_the_errors_of_modelfiles_alone(shelf: Shelf) -> None:
    folder = shelf.peft("style")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ReferenceNotFoundError, match="style"):
        find_adapter("style", shelf.folder, shelf.base)
