from __future__ import annotations

import io
import sys

import pytest

from tui.terminal.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def stderr_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal; not a fixture, since pytest sets stderr anew after those."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return stream


def test_work_that_lasts_shows_what_is_done_and_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_terminal(monkeypatch)
    with Progress(appears_after_s=0.0) as progress:
        progress.show("storing base.gguf", 0.25)
        progress.show("storing [b]style[/b].gguf", 0.5)
    assert "storing base.gguf" in terminal.getvalue()
    assert "storing [b]style[/b].gguf" in terminal.getvalue()
    assert "50%" in terminal.getvalue()


def test_a_download_shows_bytes_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "120")
    with Progress(appears_after_s=0.0) as progress:
        for done_bytes in range(0, 2_500_000, 500_000):
            progress.show_bytes("downloading hf.co/user/repo", done_bytes, 10_000_000)
    shown = terminal.getvalue()
    assert "downloading hf.co/user/repo" in shown
    assert "2.0/10.0 MB" in shown
    assert "B/s" in shown
    assert ":" in shown.rpartition("B/s")[2]  # the time left, or that it is unknown


def test_work_that_is_soon_done_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_terminal(monkeypatch)
    with Progress(appears_after_s=3600.0) as progress:
        progress.show("storing base.gguf", 0.5)
    assert terminal.getvalue() == ""


def test_nothing_is_shown_after_the_bar_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_terminal(monkeypatch)
    progress = Progress(appears_after_s=0.0)
    progress.show("loading", 0.5)
    progress.close()
    shown = terminal.getvalue()
    progress.show("reading the prompt", 1.0)
    progress.close()
    assert terminal.getvalue() == shown
    assert "\x1b[?25h" in shown  # the cursor is visible again


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(appears_after_s=0.0) as progress:
        progress.show("loading", 0.5)
    assert capsys.readouterr().err == ""
