from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engine.disk.whole_output import new_file
from tui.cli import main
from tui.commands import COMMANDS
from tui.terminal.signals import SIGNALS, unwound_by_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_is_told_to_end_leaves_nothing_half_written(
    number: int, tmp_path: Path
) -> None:
    def write() -> None:
        with unwound_by_signals(), new_file(tmp_path / "out", "The file") as file:
            file.write(b"half")
            os.kill(os.getpid(), number)

    with pytest.raises(SystemExit) as ended:
        write()
    assert ended.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with unwound_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "words", ["convert x", "extract x y -o z --rank 1", "fuse x -o y", "merge x -o y"]
)
def test_commands_that_write_large_files_are_ended_so(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, *_ = words.split()
    taken = []

    def run(_: object) -> int:
        taken.append(signal.getsignal(signal.SIGTERM))
        return 0

    monkeypatch.setattr(f"{COMMANDS[command].module}.run", run)
    assert main(words.split()) == 0
    assert taken != [signal.SIG_DFL]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
