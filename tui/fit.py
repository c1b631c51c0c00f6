"""Whether a model's files go together, said before anything is stored or loaded."""

from __future__ import annotations

from pathlib import Path


def adapter_notices(adapter: Path, base: Path) -> tuple[str, ...]:
    """Return sentences on what of the adapter has no effect on this base.

    Raises `AdapterError`, `BaseError` or `GgufError` unless the adapter fits the base.
    """
    from engine.adapters.check import require_fit
    from engine.adapters.header import read_header
    from engine.adapters.notices import notices
    from engine.adapters.read import require_base

    header = require_base(base)
    require_fit(adapter, header)
    return notices(read_header(adapter), header)
