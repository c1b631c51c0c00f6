from __future__ import annotations

from pathlib import Path

import pytest

from tui.chat.parts.clipboard import clipboard_commands, copy_with_tool


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("environ", "platform", "tools"),
    [
        ({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, "linux", ["wl-copy", "xclip", "xsel"]),
        ({"DISPLAY": ":0"}, "linux", ["xclip", "xsel"]),
        ({}, "linux", []),
        ({"WSL_DISTRO_NAME": "u"}, "linux", ["clip.exe"]),
        ({}, "darwin", ["pbcopy"]),
        ({}, "win32", ["clip"]),
    ],
)
def test_tools_are_tried_where_they_can_work(
    environ: dict[str, str], platform: str, tools: list[str]
) -> None:
    assert [command[0] for command in clipboard_commands(environ, platform)] == tools


def test_the_first_tool_that_works_gets_the_text(tmp_path: Path) -> None:
    tool(tmp_path, "wl-copy", "exit 1")
    tool(tmp_path, "xclip", f"/bin/cat > {tmp_path}/copied")
    environ = {"WAYLAND_DISPLAY": "w", "DISPLAY": ":0", "PATH": str(tmp_path)}
    assert copy_with_tool("naïve\ntext", environ, "linux") == "xclip"
    assert (tmp_path / "copied").read_text() == "naïve\ntext"


def test_without_a_tool_nothing_is_said_to_be_copied(tmp_path: Path) -> None:
    assert copy_with_tool("x", {"DISPLAY": ":0", "PATH": str(tmp_path)}, "linux") is None
