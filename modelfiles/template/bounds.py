"""Bounds on the time and output of a chat template, which is untrusted code."""

from __future__ import annotations

import re
import time

from modelfiles.errors import TemplateError

MAX_OUTPUT_CHARACTERS = 64 * 2**20
"""Longest rendered prompt, and longest intermediate text or list of a template."""
MAX_STEPS = 500_000
"""Most loop iterations and macro calls in one rendering; a chat of 1,000 messages takes a few
thousand."""
MAX_SECONDS = 10.0
"""Longest CPU time of the rendering thread; not wall time, so a busy machine fails no template."""

# A width of four or more digits in a format string such as "%9999d" or "{:>9999}".
_WIDTH = re.compile(r"[%:][^%:}a-zA-Z]*?([0-9]{4,})")


class Budget:
    """Counts the steps and the CPU time of one rendering."""

    def __init__(self) -> None:
        self._n_left = MAX_STEPS
        self._deadline_s = time.thread_time() + MAX_SECONDS

    def step(self) -> str:
        """Count one step; return an empty text, which a template can print without effect.

        Raises `TemplateError` if the steps or the time are used up.
        """
        self._n_left -= 1
        if self._n_left < 0:
            self._refuse()
        self.check_time()
        return ""

    def check_time(self) -> None:
        """Raise `TemplateError` if the time is used up."""
        if time.thread_time() > self._deadline_s:
            self._refuse()

    def _refuse(self) -> None:
        raise TemplateError("the chat template takes too long; it loops without end")


def limit_length(n_characters: int) -> None:
    """Raise `TemplateError` if `n_characters` exceeds `MAX_OUTPUT_CHARACTERS`."""
    if n_characters > MAX_OUTPUT_CHARACTERS:
        raise TemplateError(
            f"the chat template builds a text of more than {MAX_OUTPUT_CHARACTERS} characters"
        )


def limit_widths(*values: object) -> None:
    """Raise `TemplateError` for widths over the length limit: ints, or those in format strings."""
    for value in values:
        if isinstance(value, int):
            limit_length(abs(value))
        elif isinstance(value, str):
            limit_length(max((int(digits[:20]) for digits in _WIDTH.findall(value)), default=0))
