"""Locate and create the folder that holds the program's state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

HOME_VARIABLE = "LORA_TUI_HOME"


def state_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds all state: `LORA_TUI_HOME`, else the platform's data folder.

    Does not create the folder; the first writer does, with `make_private`.
    """
    override = environ.get(HOME_VARIABLE, "").strip()
    if override:
        return Path(override).expanduser().absolute()
    return Path(platformdirs.user_data_dir("lora-tui", appauthor=False))


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700.

    Raises `OSError` if a folder cannot be created.
    """
    for missing in [path for path in (*reversed(folder.parents), folder) if not path.exists()]:
        missing.mkdir(mode=0o700, exist_ok=True)
