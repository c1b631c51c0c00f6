"""Keys that are pressed before the screen stands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def keys_kept(stdin: TextIO) -> Iterator[None]:
    """Leave the keys pressed from here on as they are, for the screen that is about to start.

    Until then the terminal works for a shell: it shows what is typed and turns Enter into a line
    feed, which is ctrl+j to the screen. Loading the screen's code takes most of a second on a
    busy machine, long enough to type a question.
    """
    if sys.platform == "win32":
        yield
        return
    import termios

    try:
        descriptor = stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (AttributeError, OSError, termios.error):  # no file, or no terminal
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
