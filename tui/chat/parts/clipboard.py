"""Copying text: the system's clipboard tool where there is one, else the terminal (OSC 52)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping

_TIMEOUT_S = 5.0


def clipboard_commands(
    environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Iterator[tuple[str, ...]]:
    """Yield the commands that can take a text on stdin here, best first."""
    if platform == "darwin":
        yield ("pbcopy",)
    elif platform == "win32":
        yield ("clip",)
    else:
        if environ.get("WAYLAND_DISPLAY"):
            yield ("wl-copy",)
        if environ.get("DISPLAY"):
            yield ("xclip", "-selection", "clipboard")
            yield ("xsel", "--clipboard", "--input")
        if environ.get("WSL_DISTRO_NAME"):
            yield ("clip.exe",)


def copy_with_tool(
    text: str, environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> str | None:
    """Copy with the first tool that works and return its name, None where none does.

    Blocks for up to some seconds; call it in a thread.
    """
    for command in clipboard_commands(environ, platform):
        program = shutil.which(command[0], path=environ.get("PATH"))
        if program is None:
            continue
        try:
            # xclip keeps running to serve the selection, with stdout open: nothing is captured.
            subprocess.run(
                [program, *command[1:]],
                input=text.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return command[0]
    return None
