"""Yes-or-no questions that a command asks the user at a terminal."""

from __future__ import annotations

import sys


def has_terminal() -> bool:
    """Return whether a user can be asked: on stderr, with the answer from stdin."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def is_answered_yes(question: str) -> bool:
    """Ask on the terminal and return whether the answer is `y` or `yes`."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
