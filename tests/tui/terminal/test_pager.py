"""A text goes to the person's pager, and to stdout where no pager shows it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command_line import ROOT
from tui.terminal.pager import page_text

TEXT = "one → two\n"


def test_the_chosen_pager_gets_the_text(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    page_text(TEXT, {"PAGER": f"dd status=none of={kept}", "PATH": "/usr/bin:/bin"})
    assert kept.read_text() == TEXT


def test_a_pager_with_blanks_in_its_quoted_path_is_started(tmp_path: Path) -> None:
    kept = tmp_path / "with blank"
    page_text(TEXT, {"PAGER": f"dd status=none 'of={kept}'", "PATH": "/usr/bin:/bin"})
    assert kept.read_text() == TEXT


@pytest.mark.parametrize("pager", ["", "false", "no-such-pager", "'unclosed", "/"])
def test_a_pager_that_does_not_work_leaves_the_text_to_stdout(
    pager: str, capfd: pytest.CaptureFixture[str]
) -> None:
    page_text(TEXT, {"PAGER": pager, "PATH": "/usr/bin:/bin"})
    assert capfd.readouterr().out == TEXT


def test_less_is_told_to_show_colours_and_the_person_may_tell_it_otherwise(
    capfd: pytest.CaptureFixture[str],
) -> None:
    environ = {"PAGER": "sh -c 'cat >&2; echo $LESS'", "PATH": "/usr/bin:/bin"}
    page_text(TEXT, environ)
    page_text(TEXT, {**environ, "LESS": "S"})
    assert capfd.readouterr().out == "FRX\nS\n"


def test_a_pager_that_is_quit_early_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    page_text("line\n" * 200_000, {"PAGER": "head -n 1", "PATH": "/usr/bin:/bin"})
    assert capfd.readouterr().out == "line\n"


def test_ctrl_c_is_left_to_the_pager() -> None:
    pager = "sh -c 'trap \"\" INT; echo up; cat >/dev/null; sleep 1; echo done'"
    program = f"from tui.terminal.pager import page_text; page_text('x', {{'PAGER': {pager!r}}})"
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60)[0] == "done\n"
    assert child.returncode == 0
