"""ADAPTER lines through the one resolver: what they lead to, and how errors name their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.resolve.reference import find_adapter
from modelfiles.errors import ModelfilesError
from modelfiles.language.modelfile import Modelfile
from modelfiles.model import AdapterSpec, FoundModel
from modelfiles.references.resolve import resolve
from modelfiles.store.created import ModelStore
from tests.support.named_adapters import Shelf, shelf_in


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = shelf_in(tmp_path)
    monkeypatch.setenv("LORA_TUI_HOME", str(shelf.home))
    return shelf


def adapters(text: str, shelf: Shelf) -> tuple[AdapterSpec, ...]:
    modelfile = Modelfile.from_text(f"FROM ./far/base.gguf\n{text}")
    return resolve(modelfile, shelf.folder, None, "mine", adapters=find_adapter).adapters


def refused(text: str, shelf: Shelf) -> str:
    with pytest.raises(ModelfilesError) as raised:
        adapters(text, shelf)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_folder_is_converted_for_the_base_and_called_after(shelf: Shelf) -> None:
    shelf.peft("My style v1.5")
    (spec,) = adapters("ADAPTER ./My style v1.5 scale=0.5", shelf)
    assert (spec.name, spec.scale) == ("My-style-v1.5", 0.5)
    assert spec.path.parent == shelf.home / "cache" / "converted"


def test_the_weights_alone_may_be_named(shelf: Shelf) -> None:
    shelf.peft("style")
    text = "ADAPTER style/adapter_model.safetensors\nADAPTER ./style name=again"
    assert [spec.name for spec in adapters(text, shelf)] == ["style", "again"]


def test_the_base_is_that_of_the_model_that_from_names(shelf: Shelf) -> None:
    shelf.peft("style")
    store = ModelStore(shelf.home)
    store.create("parent", shelf.model)
    asked: list[Path] = []

    def find(reference: str, folder: Path, base: Path) -> AdapterSpec:
        asked.append(base)
        return find_adapter(reference, folder, base)

    class Library:
        def find(self, name: str) -> FoundModel:
            return FoundModel(store.get(name), "created")

    modelfile = Modelfile.from_text("FROM parent\nADAPTER ./style")
    model = resolve(modelfile, shelf.folder, Library(), "mine", adapters=find)
    assert asked == [store.get("parent").base]
    assert [spec.name for spec in model.adapters] == ["pirate", "style"]


def test_a_pulled_name_comes_last(shelf: Shelf) -> None:
    shelf.pull(shelf.pulled, "sql")
    shelf.pull(shelf.peft("0123456789"), "folder")
    specs = adapters("ADAPTER sql scale=0.5\nADAPTER folder\nADAPTER sql name=mine", shelf)
    assert [(s.name, s.scale) for s in specs] == [("sql", 0.5), ("folder", 1.0), ("mine", 1.0)]
    assert specs[0].path == specs[2].path == shelf.pulled
    file = shelf.file("sql")
    assert adapters("ADAPTER sql", shelf)[0].path == file


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ADAPTER ./gone.gguf 0.5", "(line 2): ADAPTER ./gone.gguf: There is no file or folder /"),
        (
            "ADAPTER gone",
            '(line 2): ADAPTER gone: There is no adapter "gone": it is neither a file',
        ),
        ("ADAPTER ./notes", "(line 2): ADAPTER ./notes: the folder /"),
        ("ADAPTER ./broken", "(line 2): ADAPTER ./broken: /"),
        ("ADAPTER hf.co/user", '(line 2): ADAPTER hf.co/user: "user" is no repository of the'),
        ('ADAPTER ""', "(line 2): ADAPTER: There is no adapter"),
        ("ADAPTER ./far/stacked.gguf 0,5", "(line 2): the scale must be a finite number"),
    ],
)
def test_what_leads_nowhere_is_said_with_its_line(line: str, message: str, shelf: Shelf) -> None:
    (shelf.folder / "notes").mkdir()
    (shelf.peft("broken") / "adapter_config.json").write_text("{}")
    assert refused(line, shelf).startswith(message)
