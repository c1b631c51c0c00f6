"""Bounds on what a chat template may do: templates are code that somebody else wrote."""

from __future__ import annotations

import re
import time

from modelfiles.errors import TemplateError

MAX_OUTPUT_CHARACTERS = 64 * 2**20
"""Longest rendered prompt, and longest text or list a template may build on the way."""
MAX_STEPS = 500_000
"""Most loop turns and macro calls in one rendering; a chat of 1,000 messages takes a few
thousand."""
MAX_SECONDS = 10.0
"""Of processor time of the rendering thread, so that a busy machine fails no template."""

# A width in a format string such as "%9d" or "{:>9}"; other numbers are no danger.
_WIDTH = re.compile(r"[%:][^%:}a-zA-Z]*?([0-9]{4,})")


class Budget:
    """Counts the steps and the processor time of one rendering."""

    def __init__(self) -> None:
        self._n_left = MAX_STEPS
        self._deadline_s = time.thread_time() + MAX_SECONDS

    def step(self) -> str:
        """Count one loop turn; the empty text lets a template print it without a trace."""
        self._n_left -= 1
        if self._n_left < 0:
            self._refuse()
        self.check_time()
        return ""

    def check_time(self) -> None:
        """Raise `TemplateError` where the time is over."""
        if time.thread_time() > self._deadline_s:
            self._refuse()

    def _refuse(self) -> None:
        raise TemplateError("the chat template takes too long; it loops without end")


def limit_length(n_characters: int) -> None:
    """Raise `TemplateError` where a text of that length may not be built."""
    if n_characters > MAX_OUTPUT_CHARACTERS:
        raise TemplateError(
            f"the chat template builds a text of more than {MAX_OUTPUT_CHARACTERS} characters"
        )


def limit_widths(*values: object) -> None:
    """Refuse numbers, and numbers in format strings, by which a text would be padded too far."""
    for value in values:
        if isinstance(value, int):
            limit_length(abs(value))
        elif isinstance(value, str):
            limit_length(max((int(digits[:20]) for digits in _WIDTH.findall(value)), default=0))
