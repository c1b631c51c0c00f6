"""Adapter files on their way into the rack."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import BaseError, EngineError
from engine.resolve.adapter import NewAdapter, read_stack
from engine.resolve.hub_adapter import named_adapter
from engine.resolve.watch import Watch
from engine.stack import AdapterStack
from modelfiles.errors import ModelfilesError
from modelfiles.model import Model
from tests.support.chat import tiny_model
from tests.support.tiny_models import write_adapter
from tui.chat.rack.add_screen import suggested_path


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal", scale=0.5)


def new_adapter(text: str, stack: AdapterStack, model: Model) -> NewAdapter:
    return named_adapter(text, stack, model.base, model.base.parent / "home", Watch())


def test_the_stack_of_a_model_has_its_names_and_scales(model: Model) -> None:
    stack, sentences = read_stack(model)
    assert stack.label == "pirate 0.50 + formal 0.50"
    assert sentences == ()


def test_a_base_that_is_an_adapter_is_refused(model: Model) -> None:
    with pytest.raises(BaseError):
        read_stack(Model("wrong", model.adapters[0].path))


def test_a_new_adapter_is_switched_on_under_a_free_name(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    path = write_adapter(folder / "pirate.gguf", model.base, seed=7)
    stack, _ = read_stack(model)
    entry = new_adapter(str(path), stack, model).entry
    assert (entry.adapter.name, entry.scale, entry.is_active) == ("pirate-2", 1.0, True)


@pytest.mark.parametrize("quote", ["'", '"', " "])
def test_a_path_may_be_pasted_in_quotes(model: Model, quote: str) -> None:
    path = f"{quote}{model.adapters[0].path}{quote}"
    assert new_adapter(path, AdapterStack(), model).entry.adapter.name == "pirate"


def test_the_home_folder_may_be_short(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    new = new_adapter("~/pirate.gguf", AdapterStack(), model)
    assert new.entry.adapter.path == str(tmp_path / "pirate.gguf")


@pytest.mark.parametrize("text", ["x" * 5000, "~nobody-here/x", "a\x00b", "/no/such", ".", "'"])
def test_what_cannot_be_a_file_is_one_sentence(model: Model, text: str) -> None:
    with pytest.raises((EngineError, ModelfilesError)) as caught:
        new_adapter(text, AdapterStack(), model)
    assert "\n" not in str(caught.value)


def test_the_same_content_is_not_added_twice(model: Model, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(model.adapters[1].path.read_bytes())
    stack, _ = read_stack(model)
    with pytest.raises(EngineError, match=r"in the rack already, as formal\."):
        new_adapter(str(copy), stack, model)


def test_the_name_or_file_of_an_adapter_in_the_rack_is_not_added_twice(model: Model) -> None:
    stack, _ = read_stack(model)
    for text in ("formal", str(model.adapters[1].path)):
        with pytest.raises(EngineError, match=r"in the rack already, as formal\."):
            new_adapter(text, stack, model)


def test_folders_and_adapters_are_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "style.gguf").touch()
    (tmp_path / "lora" / "notes.txt").touch()
    (tmp_path / ".hidden.gguf").touch()
    monkeypatch.chdir(tmp_path)
    assert suggested_path("lo") == "lora/"
    assert suggested_path("lora/") == "lora/style.gguf"
    assert suggested_path(f"{tmp_path}/lora/s") == f"{tmp_path}/lora/style.gguf"
    assert suggested_path("lora/n") is None
    assert suggested_path(".h") == ".hidden.gguf"
    assert suggested_path("") is None
    assert suggested_path("missing/") is None
