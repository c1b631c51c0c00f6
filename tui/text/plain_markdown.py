"""Convert Markdown to plain text, for the demo card, which is also a page of the manual."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from tui.text.tables import table_lines

_HEADING = re.compile(r"#{1,6} +")
_RULE_CELL = re.compile(r":?-+:?")
_INLINE = (
    (re.compile(r"!\[([^]]*)]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^]]+)]\(([^)]+)\)"), r"\1 (\2)"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])"), r"\1"),
    (re.compile(r"`([^`]+)`"), r"\1"),
)


def plain_text(markdown: str) -> str:
    """Return a text without the markup of headings, emphasis, code spans, links and tables.

    Line breaks stay as they are; code blocks are indented by four blanks. Meant for the package's
    own texts: markup it does not know stays as written.
    """
    return "\n".join(_lines(markdown.strip().splitlines())) + "\n"


def _lines(lines: Iterable[str]) -> Iterator[str]:
    is_code = False
    for is_table, group in groupby(lines, lambda line: line.startswith("|")):
        if is_table and not is_code:
            rows = [_cells(line) for line in group]
            yield from table_lines(row for row in rows if not all(map(_RULE_CELL.fullmatch, row)))
            continue
        for line in group:
            if line.startswith("```"):
                is_code = not is_code
            elif is_code:
                yield f"    {line}".rstrip()
            elif not line.startswith("<!--"):
                yield _inline(_HEADING.sub("", line, count=1) if line.startswith("#") else line)


def _cells(row: str) -> Sequence[str]:
    return [_inline(cell.strip()) for cell in row.strip().strip("|").split("|")]


def _inline(text: str) -> str:
    for pattern, instead in _INLINE:
        text = pattern.sub(instead, text)
    return text
