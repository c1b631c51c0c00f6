"""Copy text with the system's clipboard tool, if there is one."""

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
    """Yield the commands that copy their stdin to the clipboard on this system, best first."""
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
    """Copy with the first tool that works and return its name, or None if none works.

    Blocks for up to 5 s per tool; call it in a thread.
    """
    for command in clipboard_commands(environ, platform):
        program = shutil.which(command[0], path=environ.get("PATH"))
        if program is None:
            continue
        try:
            # xclip keeps running with stdout open to serve the selection, so no output is captured.
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
