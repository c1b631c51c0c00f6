"""`tui help` lists what there is, shows pages as they are in a pipe and laid out in a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, environment
from tui.cli import main
from tui.commands import COMMANDS
from tui.manual import TOPICS, page, topics

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what `tui help` with these arguments prints."""
    assert main(["help", *arguments]) == 0
    return capsys.readouterr().out


def test_without_a_topic_every_topic_and_every_command_is_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = re.findall(r"^  ([\w-]+) {2,}\S", helped(capsys), re.M)
    assert listed == [*TOPICS, *COMMANDS]


def test_a_topic_is_listed_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(helped(capsys).split())
    for found in topics():
        assert f"{found.topic} {found.summary}" in shown


@pytest.mark.parametrize("topic", TOPICS)
def test_into_a_pipe_goes_the_page_as_markdown(
    topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = page(topic)
    assert found
    assert helped(capsys, topic) == found.text


@pytest.mark.parametrize("command", ["fuse", "ls", "help"])
def test_of_a_command_its_own_help_is_shown(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = helped(capsys, command)
    assert main([command, "--help"]) == 0
    assert shown == capsys.readouterr().out


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("gpuss", "did you mean 'gpus'?"),
        ("Modlefile", "did you mean 'modelfile'?"),
        ("fusee", "did you mean 'fuse'?"),
        ("xyzzy", "'tui help' lists what there is."),
    ],
)
def test_an_unknown_topic_is_wrong_use_and_the_nearest_is_named(
    written: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", written]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f'Error: There is no topic and no command "{written}": {hint}\n'


def in_terminal(folder: Path, *arguments: str, **environ: str) -> str:
    """Return what `tui help` with these arguments writes to a terminal of 80 columns."""
    own, its = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "tui", "help", *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=folder,
        env={**environment(folder / "home"), "TERM": "xterm-256color", "COLUMNS": "80", **environ},
    )
    os.close(its)
    written = b""
    while True:
        try:
            piece = os.read(own, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(own)
    assert child.wait() == 0
    return written.decode().replace("\r\n", "\n")


def test_in_a_terminal_the_pager_gets_the_page_laid_out(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    written = in_terminal(tmp_path, "gpus", PAGER=f"tee {kept}")
    assert written == kept.read_text()
    assert ESCAPE.search(written), "with styles"
    plain = ESCAPE.sub("", written)
    assert "GPUs and ready-made packages" in plain
    assert "## " not in plain
    assert max(map(len, plain.splitlines())) <= 80


@pytest.mark.parametrize("pager", ["false", "no-such-pager", "'unclosed", ""])
def test_without_a_pager_that_works_the_page_is_printed(tmp_path: Path, pager: str) -> None:
    assert "How num_gpu counts" in ESCAPE.sub("", in_terminal(tmp_path, "gpus", PAGER=pager))


def test_without_colours_nothing_is_coloured(tmp_path: Path) -> None:
    written = in_terminal(tmp_path, "gpus", PAGER="cat", NO_COLOR="1")
    codes = {code for found in ESCAPE.findall(written) for code in found[2:-1].split(";")}
    assert codes <= {"", "0", "1", "2", "3", "4", "7", "9"}  # bold, italic, underlined, reverse


def test_a_terminal_without_styles_gets_plain_text_and_no_pager(tmp_path: Path) -> None:
    written = in_terminal(tmp_path, "gpus", PAGER="false", TERM="dumb")
    assert "GPUs and ready-made packages" in written
    assert "\x1b" not in written


def test_it_loads_nothing_heavy_in_a_pipe(tmp_path: Path) -> None:
    program = "import sys; from tui.cli import main; main(['help', 'gpus']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"rich", "textual", "numpy", "asyncio", "llama_cpp", "huggingface_hub"}
