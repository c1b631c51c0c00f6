"""Cache fused adapters on disk, named by the digest of their stack."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.adapters.fusing.file import FUSED_VERSION, is_intact
from engine.adapters.fusing.plan import BType
from engine.disk.file_cache import GgufCache

_SPARED_S: Final = 3.0
"""Seconds for which a file just used is kept, since another process may be about to open it.
llama.cpp reads the whole adapter when it loads it, so afterwards the file is not needed."""


class FusedCache(GgufCache):
    """Fused adapters in one folder, within a budget of bytes."""

    @staticmethod
    def key(digest: str, b_type: BType) -> str:
        """Return the key of a stack's fused adapter: its digest, the dtype of B, the version."""
        return f"{digest}-{b_type.name.lower()}-{FUSED_VERSION}"

    @property
    def spared_s(self) -> float:
        """Seconds for which a file is kept after its last use, whatever the budget."""
        return _SPARED_S

    def is_sound(self, path: Path) -> bool:
        """Return whether a file is intact."""
        return is_intact(path)
