"""Show a long text in the user's pager."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

_LESS: Final = ("less", "-R")
_LESS_OPTIONS: Final = "FRX"
"""What `less` is told where LESS says nothing: to end by itself on a text of one screen, to show
colours, and to leave the text on the screen."""


def page_text(text: str, environ: Mapping[str, str] = os.environ) -> None:
    """Show a text in `PAGER`, else in `less -R`; where no pager shows it, on stdout.

    An empty `PAGER` asks for none. A pager that cannot be started or fails is as good as none.
    """
    command = _pager(environ)
    if not command or not _is_shown(command, text, environ):
        sys.stdout.write(text)


def _pager(environ: Mapping[str, str]) -> list[str]:
    """Return the words of the command, none where there is no pager."""
    chosen = environ.get("PAGER")
    if chosen is None:
        return list(_LESS) if shutil.which(_LESS[0]) else []
    try:
        return shlex.split(chosen)
    except ValueError:  # an open quote
        return []


def _is_shown(command: list[str], text: str, environ: Mapping[str, str]) -> bool:
    sys.stdout.flush()
    try:
        pager = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            env={"LESS": _LESS_OPTIONS, **environ},
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError:
        return False
    try:
        pager.communicate(text)
    except KeyboardInterrupt:
        # Ctrl+C belongs to the pager, which ends or goes on: whoever reads quits by its own key.
        _wait_through_interrupts(pager)
    return pager.returncode == 0


def _wait_through_interrupts(pager: subprocess.Popen[str]) -> None:
    while True:
        try:
            pager.wait()
        except KeyboardInterrupt:
            continue
        return
