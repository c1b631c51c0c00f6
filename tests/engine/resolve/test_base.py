"""Which model or base a reference means: a GGUF file, a name, a repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import BaseError, EngineError
from engine.resolve.base import resolve_base
from modelfiles.errors import ModelfilesError, ModelNotFoundError
from modelfiles.language.modelfile import Modelfile
from modelfiles.library import Library, open_library
from modelfiles.model import Model
from modelfiles.references.resolve import resolve
from modelfiles.store.created import ModelStore
from tests.support.gguf_raw import RawGguf, text
from tests.support.named_adapters import Shelf, shelf_in
from tests.support.split_base import write_split
from tests.support.tiny_models import write_base


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = shelf_in(tmp_path)
    monkeypatch.setenv("LORA_TUI_HOME", str(shelf.home))
    monkeypatch.chdir(tmp_path)
    return shelf


@pytest.fixture
def library(shelf: Shelf) -> Library:
    return open_library()


def test_a_file_is_a_model_as_a_modelfile_that_names_it_alone(
    shelf: Shelf, library: Library
) -> None:
    found = resolve_base("far/base.gguf", library)
    assert (found.origin, found.model) == ("file", Model("base.gguf", shelf.base))
    modelfile = Modelfile.from_text("FROM far/base.gguf")
    same = resolve(modelfile, shelf.folder, library, "mine")
    assert found.model == Model("base.gguf", same.base, same.adapters, same.parameters)


def test_a_path_comes_before_a_model_of_its_name(shelf: Shelf, library: Library) -> None:
    ModelStore(shelf.home).create("thing", shelf.model)
    assert resolve_base("thing", library).model.name == "thing:latest"
    path = write_base(shelf.folder / "thing")
    assert resolve_base("thing", library).model == Model("thing", path)
    assert resolve_base("thing:latest", library).model.name == "thing:latest"


def test_a_folder_with_one_gguf_is_that_model(shelf: Shelf, library: Library) -> None:
    (shelf.folder / "llama").mkdir()
    path = write_base(shelf.folder / "llama" / "model.gguf")
    assert resolve_base("./llama", library).model == Model("model.gguf", path)


def test_the_first_part_is_the_whole_split_model(shelf: Shelf, library: Library) -> None:
    parts = write_split(shelf.base, "split", 2)
    assert resolve_base(str(parts[0]), library).model.base == parts[0]
    with pytest.raises(ModelfilesError, match="is not the first part of its split model; name"):
        resolve_base(str(parts[1]), library)


def test_a_repository_that_is_not_here_says_how_to_pull_it(shelf: Shelf, library: Library) -> None:
    with pytest.raises(ModelNotFoundError, match=r"'tui pull hf\.co/user/repo' downloads it"):
        resolve_base("hf.co/user/repo", library)


def test_a_pulled_adapter_is_said_to_be_one(shelf: Shelf, library: Library) -> None:
    shelf.pull(shelf.pulled)
    with pytest.raises(ModelNotFoundError, match="pirate is a pulled adapter, not a model: name"):
        resolve_base("pirate", library)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("general.type", "mmproj", "mmproj"),
        ("general.architecture", "clip", "mmproj"),
        ("general.type", "imatrix", "imatrix"),
        ("general.type", "adapter", "adapter"),
    ],
)
def test_a_gguf_that_is_not_a_model_is_said_to_be_what_it_is(
    shelf: Shelf, library: Library, key: str, value: str, kind: str
) -> None:
    raw = RawGguf.read(shelf.base)
    raw.metadata[key] = text(value)
    path = raw.write(shelf.folder / "other.gguf")
    with pytest.raises(
        BaseError, match=r"other\.gguf (has the type|is an|is the vision or audio part of) "
    ) as raised:
        resolve_base(str(path), library)
    assert kind in str(raised.value)


@pytest.mark.parametrize(
    ("reference", "part"),
    [
        ("", "The name of the model is empty"),
        ("nobody", "model 'nobody:latest' not found"),
        ("./missing.gguf", "there is no such file (looked at /"),
        ("missing.gguf", "there is no such file (looked at /"),
        ("~no-such-user-here/x.gguf", "there is no such user's home folder"),
        ("a\0b", "holds a NUL character"),
        ("x" * 5000, "invalid model name"),
        ("hf.co/user", "is no repository of the Hugging Face Hub"),
        ("far/stacked.gguf", "is an adapter, not a model"),
        ("notes.txt", "is not a GGUF file"),
        ("cut.gguf", "cut.gguf"),
        ("far", "holds 3 GGUF files"),
    ],
    ids=lambda value: value[:20] or "nothing",
)
def test_wrong_input_gets_one_sentence(
    reference: str, part: str, shelf: Shelf, library: Library
) -> None:
    (shelf.folder / "notes.txt").write_text("nothing to see")
    (shelf.folder / "cut.gguf").write_bytes(shelf.base.read_bytes()[:100])
    with pytest.raises((EngineError, ModelfilesError)) as raised:
        resolve_base(reference, library)
    assert part in str(raised.value)
    assert str(raised.value).isprintable()
