"""Parse and render Go text templates, the language of TEMPLATE, within bounds.

The subset is what model templates use: text with trim markers, comments, if, range, with, break,
continue, variables, pipes, literals and the functions of `modelfiles.template.go.functions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelfiles.errors import TemplateError
from modelfiles.template.go.evaluator import Evaluator
from modelfiles.template.go.functions import FUNCTIONS, LAZY
from modelfiles.template.go.nodes import Node
from modelfiles.template.go.parser import parse
from modelfiles.template.go.values import Value

MAX_SOURCE_CHARACTERS = 2**20
"""Longest template; the longest known one of a model has about 20,000 characters."""

_NAMES = frozenset((*FUNCTIONS, *LAZY))


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """A parsed template."""

    source: str
    nodes: tuple[Node, ...]

    def render(self, root: Mapping[str, Value]) -> str:
        """Return the template's output with `root` as its data.

        Raises `TemplateError`, with line and column if known, if the template fails on its data
        or exceeds the bounds of `modelfiles.template.bounds`.
        """
        try:
            return Evaluator(self.source, root).run(self.nodes)
        except RecursionError:
            raise TemplateError("the chat template is nested too deeply") from None


def parse_go(text: str) -> GoTemplate:
    """Parse a template; raises `TemplateError`, with line and column for a syntax error."""
    if len(text) > MAX_SOURCE_CHARACTERS:
        raise TemplateError(f"the chat template has more than {MAX_SOURCE_CHARACTERS} characters")
    return GoTemplate(text, parse(text, _NAMES))
