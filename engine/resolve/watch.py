"""Follow and cancel the downloads and conversions that a reference sets off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks to follow and to cancel work; by default nobody watches."""

    on_bytes: Callable[[int, int], None] = lambda _done, _total: None
    """Called with the bytes that have arrived and the total of a download."""
    on_progress: Callable[[float], None] = lambda _: None
    """Called with the fraction of a conversion that is done, from 0 to 1."""
    is_cancelled: Callable[[], bool] = lambda: False
    tell: Callable[[str], object] = lambda _: None
    """Called with each sentence on a conversion, once it is done."""
