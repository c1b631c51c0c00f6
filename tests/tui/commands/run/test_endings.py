"""How `tui run` ends when the answer does not: interrupted, failed, or with notices."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import GenerationEvent, Tokens
from engine.protocol.values import BaseInfo, LoadSpec
from tests.support.command_line import write_model_files
from tests.support.scripted_engine import ScriptedEngine
from tui.cli import main

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


class InterruptedEngine(ScriptedEngine):
    """Gets the program a Ctrl+C after the first piece of the answer."""

    async def generate(self, request: ChatRequest) -> AsyncIterator[GenerationEvent]:
        async for event in super().generate(request):
            yield event
            if isinstance(event, Tokens):
                signal.raise_signal(signal.SIGINT)


class InterruptedLoad(ScriptedEngine):
    """Gets the program a Ctrl+C while the base is loading."""

    async def load(
        self, spec: LoadSpec, on_progress: Callable[[float], None] | None = None
    ) -> BaseInfo:
        signal.raise_signal(signal.SIGINT)
        return await super().load(spec, on_progress)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("endings")
    modelfile = write_model_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORA_TUI_HOME", str(folder / "home"))
        assert main(["create", "tiny", "-f", str(modelfile)]) == 0
    return folder


def run(engine: ScriptedEngine, folder: Path, monkeypatch: Patch, *arguments: str) -> int:
    """Run `tui run tiny Hello` against `engine`, with a closed stdin."""
    monkeypatch.setenv("LORA_TUI_HOME", str(folder / "home"))
    monkeypatch.setattr("tui.commands.run.run.new_engine", lambda: engine)
    monkeypatch.setattr("sys.stdin", None)
    code = main(["run", "tiny", "Hello", *arguments])
    assert engine.is_closed
    return code


def test_an_interrupted_answer_keeps_its_beginning(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = InterruptedEngine([["One", " two"]], gate=asyncio.Event())
    assert run(engine, folder, monkeypatch) == 130
    assert capsys.readouterr() == ("One\n", "")


def test_an_interrupted_answer_as_json_says_so(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = InterruptedEngine([["One", " two"]], gate=asyncio.Event())
    assert run(engine, folder, monkeypatch, "--json") == 130
    document = json.loads(capsys.readouterr().out)
    assert (document["response"], document["finish_reason"]) == ("One", "cancelled")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interruption_while_loading_ends_without_a_word(
    options: list[str], folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = InterruptedLoad([["One"]], load_gate=asyncio.Event())
    assert run(engine, folder, monkeypatch, *options) == 130
    assert capsys.readouterr() == ("", "")


def test_a_failed_answer_keeps_its_beginning_and_is_an_error(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = ScriptedEngine([["One"]], crash="The engine was stopped by SIGKILL.")
    assert run(engine, folder, monkeypatch) == 1
    assert capsys.readouterr() == ("One\n", "Error: The engine was stopped by SIGKILL.\n")


def test_a_failed_answer_as_json_leaves_stdout_empty(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = ScriptedEngine([["One"]], crash="The engine was stopped by SIGKILL.")
    assert run(engine, folder, monkeypatch, "--json") == 1
    assert capsys.readouterr() == ("", "Error: The engine was stopped by SIGKILL.\n")


def test_notices_go_to_stderr_and_control_characters_nowhere(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = ScriptedEngine([["\x1b]0;own", "ed\x07Hi\x9b"]], notices=("A message\x1b is out.",))
    assert run(engine, folder, monkeypatch) == 0
    assert capsys.readouterr() == ("]0;ownedHi\n", "Note: A message is out.\n")


def test_a_document_has_no_control_characters_either(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    assert run(ScriptedEngine([["\x1b[2JHi\x07"]]), folder, monkeypatch, "--json") == 0
    assert json.loads(capsys.readouterr().out)["response"] == "[2JHi"


@pytest.mark.parametrize(
    ("options", "wish"), [([], None), (["--think"], True), (["--no-think"], False)]
)
def test_thoughts_come_before_the_answer_between_two_lines(
    options: list[str], wish: bool | None, folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = ScriptedEngine([["Yes."]], thoughts=["Hm, ", "well.\x1b"])
    assert run(engine, folder, monkeypatch, *options) == 0
    expected = "Thinking...\nHm, well.\n...done thinking.\n\nYes.\n"
    assert capsys.readouterr() == (expected, "")
    assert [request.thinks for request in engine.requests] == [wish]


@pytest.mark.parametrize("option", ["--hide-thinking", "--hidethinking"])
def test_thoughts_can_be_hidden(
    option: str, folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = ScriptedEngine([["Yes."]], thoughts=["Hm."])
    assert run(engine, folder, monkeypatch, option) == 0
    assert capsys.readouterr() == ("Yes.\n", "")


def test_thoughts_are_a_field_of_the_document(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    engine = ScriptedEngine([["Yes."]], thoughts=["Hm."])
    assert run(engine, folder, monkeypatch, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["response"], document["thinking"]) == ("Yes.", "Hm.")
    assert document["stats"]["thinking_tokens"] == 1


def test_a_thought_without_an_answer_ends_its_line(
    folder: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    assert run(ScriptedEngine([[]], thoughts=["Hm."]), folder, monkeypatch) == 0
    assert capsys.readouterr() == ("Thinking...\nHm.\n", "")
