"""Wrong use, help and version: what the command line says before any model is looked at."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tui.cli import main
from tui.commands import COMMANDS

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_help_names_every_command_and_gives_examples(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr()
    assert all(f"\n    {command} " in shown.out for command in COMMANDS)
    assert "tui run demo" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_examples(command: str, capsys: Capture) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: tui {command} ")
    assert f"\nexamples:\n  tui {command}" in shown.out


def test_the_version_is_that_of_the_distribution(capsys: Capture) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tui {version('lora-tui')}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["crate"], "There is no command 'crate': did you mean 'create'?"),
        (["xyzzy"], "There is no command 'xyzzy': the commands are run, create, list, show, cp,"),
        (["--nonsense"], "unrecognized arguments: --nonsense (see 'tui --help')"),
        (["run", "demo", "--system", "x"], "unrecognized arguments: --system x (see 'tui run --"),
        (["list", "a", "b"], "unrecognized arguments: b (see 'tui list --help')"),
        (["run"], "the following arguments are required: NAME|GGUF (see 'tui run --help')"),
        (["cp", "a"], "the following arguments are required: TARGET (see 'tui cp --help')"),
        (["rm"], "the following arguments are required: NAME (see 'tui rm --help')"),
        (["show", "demo", "--system", "--license"], "not allowed with argument"),
        (["create", "a", "-f"], "argument -f/--file: expected one argument"),
        (["run", "demo", "x", "--lora"], "argument --lora: expected one argument"),
        (["run", "demo", "x", "--lora-scale", "1"], "there is none"),
        (["run", "demo", "x", "--lora-scale", "1", "--lora", "pirate"], "there is none"),
        (["run", "demo", "x", "--lora", "a", "--lora-scale", "much"], "must be a number"),
        (["run", "demo", "x", "--lora", "a", "--lora-scale", "nan"], "must be a number"),
        (["run", "demo", "x", "--lora", "a", "--lora-scale", "1e999"], "must be a number"),
        (
            ["run", "demo", "x", "--lora", "a", "--lora-scale", "1", "--lora-scale", "2"],
            "two --lora-scale options",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: Capture
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert sentence in shown.err


def test_tui_alone_without_a_terminal_prints_its_help_on_stderr(
    capsys: Capture, monkeypatch: Patch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: tui")


def test_an_error_from_the_system_is_one_sentence(capsys: Capture, monkeypatch: Patch) -> None:
    def fail(_: object) -> int:
        raise PermissionError(13, "Permission denied", "/some/file\x1b[2J")

    monkeypatch.setattr("tui.commands.models.list.run", fail)
    assert main(["list"]) == 1
    assert capsys.readouterr().err == (
        "Error: Cannot read or write '/some/file[2J': Permission denied.\n"
    )


def test_an_interruption_is_exit_code_130_without_a_word(
    capsys: Capture, monkeypatch: Patch
) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("tui.commands.models.list.run", interrupt)
    assert main(["list"]) == 130
    assert capsys.readouterr() == ("", "")
