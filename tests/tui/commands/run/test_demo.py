"""The packaged demo on the command line: known by name, without any setup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelfiles.demo import ADAPTER_NAMES, CARD
from tests.support.command_line import run_tui
from tui.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet."""
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_list_shows_the_demo_when_nothing_was_created(capsys: Capture) -> None:
    assert main(["list"]) == 0
    headings, row = capsys.readouterr().out.splitlines()
    assert headings.split() == ["NAME", "ID", "SIZE", "ADAPTERS", "MODIFIED", "ORIGIN"]
    assert row.split()[0] == "demo:latest"
    assert row.split()[-1] == "package"


def test_show_tells_of_every_adapter_and_ends_with_the_card(capsys: Capture) -> None:
    assert main(["show", "demo"]) == 0
    page = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in page.splitlines()]
    for name in ADAPTER_NAMES:
        assert any(row.startswith(f"{name} scale 0.00 rank ") for row in rows)
    title = CARD.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    assert title in page.splitlines()
    assert "**" not in page


def test_the_demo_stays(capsys: Capture) -> None:
    assert main(["rm", "demo"]) == 1
    assert "comes with the program" in capsys.readouterr().err


def test_a_copy_of_the_demo_is_a_model_of_ones_own(capsys: Capture) -> None:
    assert main(["cp", "demo", "mine"]) == 0
    capsys.readouterr()
    assert main(["show", "mine", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [adapter["name"] for adapter in document["adapters"]] == list(ADAPTER_NAMES)


def test_a_piped_text_is_answered_in_one_document(home: Path, tmp_path: Path) -> None:
    ended = run_tui("run", "demo", "Summarise:", "--json", home=home, folder=tmp_path, stdin="text")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert document["model"] == "demo:latest"
    assert document["response"].strip()
    stack = [(entry["name"], entry["scale"]) for entry in document["stack"]]
    assert stack == [(name, 0.0) for name in ADAPTER_NAMES]
    assert document["stats"]["generated_tokens"] > 0
    assert not home.exists()


def test_an_adapter_is_turned_up_by_its_name(home: Path, tmp_path: Path) -> None:
    arguments = ["run", "demo", "Who are you?", "--json", "--lora", "pirate", "--lora-scale", "1.0"]
    ended = run_tui(*arguments, home=home, folder=tmp_path)
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    scales = {entry["name"]: entry["scale"] for entry in document["stack"]}
    assert scales == {**dict.fromkeys(ADAPTER_NAMES, 0.0), "pirate": 1.0}
