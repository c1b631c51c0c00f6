"""llama.cpp's log as Python sees it: passed to `logging`, and asked why a call failed."""

from __future__ import annotations

import logging
from collections import deque

log = logging.getLogger("engine.llama")
log.setLevel(logging.WARNING)

# ggml_log_level of ggml.h; 5 continues the message before it.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}


def pass_on(level: int, text: bytes) -> None:
    """Pass one message of llama.cpp's log callback to `logging`."""
    message = text.decode("utf-8", "replace").strip()
    if message.strip("."):
        log.log(_LEVELS.get(level, logging.DEBUG), "%s", message)


class Reasons(logging.Handler):
    """Keeps llama.cpp's latest warnings and errors, the only place where it says why it failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[str] = deque(maxlen=20)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def clear(self) -> None:
        """Forget what was said before the call that is about to be made."""
        self._lines.clear()

    def has(self, *texts: str) -> bool:
        """Whether a message holds one of these texts."""
        return any(text in line for line in self._lines for text in texts)

    def first(self, default: str = "llama.cpp gave no reason") -> str:
        """Return the first message, without the name of the C function before it."""
        line = next(iter(self._lines), default).rstrip(".")
        head, colon, rest = line.partition(": ")
        return rest if colon and " " not in head and rest else line


# One for the process, as llama.cpp's log is: attaching a handler per call cost 3 microseconds of
# every token.
reasons = Reasons()
log.addHandler(reasons)
