"""Batch tokens into events at display rate."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.protocol.events import Event, GenerationEvent, Tokens

TOKEN_INTERVAL_S = 1 / 30
"""Interval at which tokens are sent: screens refresh no faster, and each event costs both sides
about 30 microseconds."""


class _Throttle:
    """Limits how often something is done: `is_due` is True at most once per interval."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last_s = float("-inf")

    def is_due(self) -> bool:
        now_s = time.perf_counter()
        if now_s - self._last_s < self._interval_s:
            return False
        self._last_s = now_s
        return True


class _TokenBatch:
    """Joins Tokens events so that they are sent at display rate; other events flush it."""

    def __init__(self, request_id: int, send: Callable[[Event], None]) -> None:
        self._id = request_id
        self._send = send
        self._throttle = _Throttle(TOKEN_INTERVAL_S)
        self._text = self._thinking = ""
        self._n_tokens = 0

    def add(self, event: GenerationEvent) -> None:
        if isinstance(event, Tokens):
            self._text += event.text
            self._thinking += event.thinking
            self._n_tokens += event.n_tokens
            if self._throttle.is_due():
                self._flush()
        else:
            self._flush()
            self._send(event)

    def _flush(self) -> None:
        if self._n_tokens or self._text or self._thinking:
            self._send(Tokens(self._id, self._text, self._n_tokens, self._thinking))
            self._text = self._thinking = ""
            self._n_tokens = 0
