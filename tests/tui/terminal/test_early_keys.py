"""What is typed before the screen stands reaches it as it was typed."""

from __future__ import annotations

import io
import os
import pty
import termios

from tui.terminal.early_keys import keys_kept


def test_enter_stays_enter_and_nothing_is_echoed() -> None:
    terminal, program = pty.openpty()
    try:
        with os.fdopen(program, closefd=False) as stdin:
            before = termios.tcgetattr(program)
            with keys_kept(stdin):
                os.write(terminal, b"hi\r")
                assert os.read(program, 100) == b"hi\r"
            assert termios.tcgetattr(program) == before
            os.write(program, b"!")
            assert os.read(terminal, 100) == b"!"
    finally:
        os.close(terminal)
        os.close(program)


def test_without_a_terminal_nothing_is_changed() -> None:
    with keys_kept(io.StringIO()):
        pass
    with open(os.devnull) as nothing, keys_kept(nothing):
        pass
