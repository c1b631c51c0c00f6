"""When `tui` opens a screen, and with which model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelfiles.model import Model
from tests.support.command_line import write_model_files
from tui.cli import main

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the model `tiny`, and a home in it that knows it."""
    folder = tmp_path_factory.mktemp("screen")
    modelfile = write_model_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORA_TUI_HOME", str(folder / "home"))
        assert main(["create", "tiny", "-f", str(modelfile)]) == 0
    return folder


@pytest.fixture
def opened(folder: Path, monkeypatch: Patch) -> list[Model | None]:
    """What the screens that were opened show: a model, or None for the list of models."""
    models: list[Model | None] = []

    def run_chat(model: Model, _: Sequence[str]) -> int:
        models.append(model)
        return 0

    def run_picker() -> int:
        models.append(None)
        return 0

    app = SimpleNamespace(run_chat=run_chat, run_picker=run_picker)
    monkeypatch.setitem(sys.modules, "tui.chat.app", app)
    monkeypatch.setenv("LORA_TUI_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    return models


def set_terminals(monkeypatch: Patch, stdin: bool, stdout: bool) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: stdin))
    monkeypatch.setattr("sys.stdout.isatty", lambda: stdout)


def test_run_without_a_prompt_on_a_terminal_opens_the_chat(
    opened: list[Model | None], monkeypatch: Patch
) -> None:
    set_terminals(monkeypatch, stdin=True, stdout=True)
    assert main(["run", "tiny"]) == 0
    (model,) = opened
    assert model is not None
    assert model.name == "tiny:latest"


def test_the_chat_gets_the_adapters_of_the_command_line(
    opened: list[Model | None], monkeypatch: Patch
) -> None:
    set_terminals(monkeypatch, stdin=True, stdout=True)
    Path("extra.gguf").write_bytes(Path("loud.gguf").read_bytes())
    options = "--lora calm --lora-scale 0.7 --lora extra.gguf"
    assert main(["run", "tiny", *options.split()]) == 0
    (model,) = opened
    assert model is not None
    scales = [(spec.name, spec.scale) for spec in model.adapters]
    assert scales == [("loud", 0.5), ("calm", 0.7), ("extra", 1.0)]


def test_a_wrong_adapter_is_an_error_before_the_screen_opens(
    opened: list[Model | None], monkeypatch: Patch, capsys: Capture
) -> None:
    set_terminals(monkeypatch, stdin=True, stdout=True)
    assert main(["run", "tiny", "--lora", "base.gguf"]) == 1
    assert "base.gguf is a model" in capsys.readouterr().err
    assert opened == []


@pytest.mark.parametrize(
    ("arguments", "stdout"),
    [(["run", "tiny"], False), (["run", "tiny", "--json"], True), (["run", "tiny", " "], True)],
)
def test_nothing_to_answer_is_wrong_use_and_opens_nothing(
    arguments: list[str],
    stdout: bool,
    opened: list[Model | None],
    monkeypatch: Patch,
    capsys: Capture,
) -> None:
    set_terminals(monkeypatch, stdin=True, stdout=stdout)
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("Error: There is nothing to answer")
    assert opened == []


def test_tui_alone_on_a_terminal_shows_the_models(
    opened: list[Model | None], monkeypatch: Patch
) -> None:
    set_terminals(monkeypatch, stdin=True, stdout=True)
    assert main([]) == 0
    assert opened == [None]
