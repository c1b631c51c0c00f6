"""Where the program keeps its state on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

HOME_VARIABLE = "LORA_TUI_HOME"


def state_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds all state: `LORA_TUI_HOME`, else the platform's data folder.

    The folder is not created here; whoever writes first does, with `make_private`.
    """
    override = environ.get(HOME_VARIABLE, "").strip()
    if override:
        return Path(override).expanduser().absolute()
    return Path(platformdirs.user_data_dir("lora-tui", appauthor=False))


def make_private(folder: Path) -> None:
    """Create a folder and those above it that are missing, for their owner only (mode 0700).

    Raises `OSError` where that cannot be done.
    """
    for missing in [path for path in (*reversed(folder.parents), folder) if not path.exists()]:
        missing.mkdir(mode=0o700, exist_ok=True)
