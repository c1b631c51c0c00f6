"""Whether a model's files go together, said before anything is stored or loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.adapters.header import GgufHeader


def adapter_notices(adapter: Path, base: GgufHeader) -> tuple[str, ...]:
    """Return sentences on what of the adapter has no effect on this base.

    Raises `AdapterError` or `GgufError` unless the adapter fits the base.
    """
    from engine.adapters.check import require_fit
    from engine.adapters.header import read_header
    from engine.adapters.notices import notices

    header = read_header(adapter)
    require_fit(header, base)
    return notices(header, base)
