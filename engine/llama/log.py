"""Pass llama.cpp's log to `logging`, and keep its latest errors as reasons for failed calls."""

from __future__ import annotations

import logging
from collections import deque

log = logging.getLogger("engine.llama")
log.setLevel(logging.WARNING)

# ggml_log_level of ggml.h; 5 continues the previous message.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}


def pass_on(level: int, text: bytes) -> None:
    """Pass one message of llama.cpp's log callback to `logging`."""
    message = text.decode("utf-8", "replace").strip()
    if message.strip("."):
        log.log(_LEVELS.get(level, logging.DEBUG), "%s", message)


class Reasons(logging.Handler):
    """Keeps llama.cpp's latest warnings and errors, its only report of why a call failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[str] = deque(maxlen=20)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def clear(self) -> None:
        """Drop the messages kept so far, before a new call."""
        self._lines.clear()

    def has(self, *texts: str) -> bool:
        """Return whether a message contains one of these texts."""
        return any(text in line for line in self._lines for text in texts)

    def first(self, default: str = "llama.cpp gave no reason") -> str:
        """Return the first message, without the name of the C function in front."""
        line = next(iter(self._lines), default).rstrip(".")
        head, colon, rest = line.partition(": ")
        return rest if colon and " " not in head and rest else line


# One per process, like llama.cpp's log; attaching a handler per call cost 3 microseconds per token.
reasons = Reasons()
log.addHandler(reasons)
