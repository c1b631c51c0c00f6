"""Questions that a command asks a person at a terminal, answered by y or n."""

from __future__ import annotations

import sys


def has_terminal() -> bool:
    """Whether there is somebody to ask: the answer comes from stdin, the question is on stderr."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def is_answered_yes(question: str) -> bool:
    """Ask on the terminal; anything but a yes is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
