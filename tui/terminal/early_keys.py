"""Keep the keys that are pressed before the screen has started."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def keys_kept(stdin: TextIO) -> Iterator[None]:
    """Keep the keys pressed in the block unchanged, for the screen that is about to start.

    Until the screen starts, the terminal is in its mode for a shell: it echoes keys and turns Enter
    into a line feed, which is ctrl+j to the screen. Loading the screen's code takes most of a
    second on a busy machine, long enough to type a question.
    """
    if sys.platform == "win32":
        yield
        return

    try:
        descriptor = stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (AttributeError, OSError, termios.error):  # not a file, or not a terminal
        yield
        return
    kept = list(before)
    kept[0] &= ~termios.ICRNL
    kept[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSANOW, kept)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
