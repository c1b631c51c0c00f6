"""Remove the control characters of model output and file names before they reach a terminal."""

from __future__ import annotations

_REMOVED = (
    *(code for code in range(0x20) if chr(code) not in "\n\t"),  # C0, ESC among them
    *range(0x7F, 0xA0),  # DEL and C1: U+009B starts an escape sequence of its own
    *range(0x202A, 0x202F),  # bidirectional embeddings and overrides
    *range(0x2066, 0x206A),  # bidirectional isolates
    *range(0xD800, 0xE000),  # lone surrogates, which no terminal encoding can carry
)
_TABLE: dict[int, str | None] = {
    **dict.fromkeys(_REMOVED),
    0x2028: "\n",
    0x2029: "\n",
}


def printable(text: str) -> str:
    r"""Return `text` without the characters that control a terminal instead of being shown.

    Control characters other than newline and tab, bidirectional overrides and lone surrogates are
    dropped one by one, so a text may be cleaned fragment by fragment with the same result. The text
    after a dropped ESC stays as plain text: `\x1b[31m` becomes `[31m`.
    """
    return text.translate(_TABLE)


def printable_line(text: str) -> str:
    """Return `printable(text)` on one line: every run of white space becomes one space."""
    return " ".join(printable(text).split())
