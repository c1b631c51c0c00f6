"""Cache fused adapters on disk, named by the digest of their stack."""

from __future__ import annotations

from engine.adapters.fusing.file import FUSED_VERSION, is_intact
from engine.adapters.fusing.plan import BType
from engine.disk.file_cache import GgufCache


class FusedCache(GgufCache):
    """Fused adapters in one folder, within a budget of bytes."""

    spared_s = 3.0
    """A file just used is kept, since another process may be about to open it. llama.cpp reads the
    whole adapter when it loads it, so afterwards the file is not needed."""
    is_sound = staticmethod(is_intact)

    @staticmethod
    def key(digest: str, b_type: BType) -> str:
        """Return the key of a stack's fused adapter: its digest, the dtype of B, the version."""
        return f"{digest}-{b_type.name.lower()}-{FUSED_VERSION}"
