"""What the status line shows of an answer's progress."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What the engine is doing for the chat."""

    EMPTY = "no model"
    LOADING = "loading"
    READY = "ready"
    PREFILL = "reading the prompt"
    WRITING = "writing"


@dataclass(slots=True)
class Meter:
    """The numbers of the footer."""

    load_fraction: float = 0.0
    n_prefilled: int = 0
    n_prompt: int = 0
    n_context: int = 0
    """Tokens of the context in use."""
    tokens_per_s: float = 0.0
    is_stopped: bool = False
    """Whether the last answer was stopped before its end."""
    n_prepared: int = 0
    n_to_prepare: int = 0
    """Tokens of the conversation read in the background, and how many there are to read; both 0 if
    none are being read."""
    swap_s: float = 0.0
    """Time the engine took to apply the last stack; 0 if it did not report one."""

    def restart(self) -> None:
        """Reset the numbers for another answer."""
        self.n_prefilled, self.n_prompt, self.tokens_per_s = 0, 0, 0.0
        self.is_stopped = False
