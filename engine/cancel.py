"""Long work that somebody may give up: every function that takes `is_cancelled` ends alike."""

from __future__ import annotations

from collections.abc import Callable


class Cancelled(Exception):  # noqa: N818  # no error: somebody asked for it
    """Work was given up because `is_cancelled` said so; nothing half is left."""


def stop_if(is_cancelled: Callable[[], bool]) -> None:
    """Raise `Cancelled` where somebody has asked for it."""
    if is_cancelled():
        raise Cancelled
