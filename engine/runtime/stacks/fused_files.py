"""Fused adapters on disk, named by what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.adapters.fusing.file import FUSED_VERSION, is_intact
from engine.adapters.fusing.plan import BType
from engine.disk.file_cache import GgufCache

_SPARED_S: Final = 3.0
"""A file used a moment ago is kept: another process may be about to open it. llama.cpp
reads an adapter whole when it loads it, so afterwards the file is not needed."""


class FusedCache(GgufCache):
    """Fused adapters in one folder, within a budget of bytes."""

    @staticmethod
    def key(digest: str, b_type: BType) -> str:
        """Return the name for a stack's fused adapter: its digest, the type of B, the version."""
        return f"{digest}-{b_type.name.lower()}-{FUSED_VERSION}"

    @property
    def spared_s(self) -> float:
        """For how long a file is kept after its last use, whatever the budget."""
        return _SPARED_S

    def is_sound(self, path: Path) -> bool:
        """Whether a file is what was built."""
        return is_intact(path)
