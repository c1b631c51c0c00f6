"""Split a Go text template into tokens.

The rules are those of Go's `text/template/parse`: `{{-` and `-}}` trim only with white space
beside the minus sign, so `{{-3}}` is a number, and a comment must fill its whole action.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from modelfiles.template.go.nodes import error_at
from modelfiles.wording import quoted

_SPACE = " \t\r\n"
_TRIM_LENGTH = 2
_NAME = r"[^\W\d]\w*"


class Kind(StrEnum):
    """The kind of a token."""

    TEXT = "text"
    OPEN = "{{"
    CLOSE = "}}"
    FIELD = "field"
    VARIABLE = "variable"
    WORD = "word"
    NUMBER = "number"
    STRING = "string"
    RAW = "raw string"
    CHARACTER = "character constant"
    SIGN = "sign"
    END = "EOF"


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a template; `text` is verbatim, but trimmed if it is outside of actions."""

    kind: Kind
    text: str
    offset: int
    has_space: bool = False
    """Whether white space precedes it, which ends an operand."""


_INSIDE = (
    (Kind.STRING, re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')),
    (Kind.RAW, re.compile(r"`[^`]*`")),
    (Kind.CHARACTER, re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")),
    (Kind.NUMBER, re.compile(r"[+-]?\.?\d[\w.]*(?:(?<=[eEpP])[+-][\w.]*)?")),
    (Kind.FIELD, re.compile(rf"\.{_NAME}")),
    (Kind.VARIABLE, re.compile(r"\$\w*")),
    (Kind.WORD, re.compile(_NAME)),
    (Kind.SIGN, re.compile(r":=|[=,|().]")),
)
_UNFINISHED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
    "+": "bad number syntax",
    "-": "bad number syntax",
}


def tokenize(source: str) -> list[Token]:
    """Return the tokens of `source`, the last one of kind `END`; raises `TemplateError`."""
    return _Lexer(source).tokens()


class _Lexer:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._tokens: list[Token] = []

    def tokens(self) -> list[Token]:
        source = self._source
        is_trimmed = False
        while True:
            start = self._at
            found = source.find("{{", start)
            end = len(source) if found < 0 else found
            trims_before = found >= 0 and self._has_left_trim(found)
            text = source[start:end]
            if is_trimmed:
                text = text.lstrip(_SPACE)
            if trims_before:
                text = text.rstrip(_SPACE)
            if text:
                self._tokens.append(Token(Kind.TEXT, text, start))
            if found < 0:
                self._tokens.append(Token(Kind.END, "", len(source)))
                return self._tokens
            self._at = found + 2 + (_TRIM_LENGTH if trims_before else 0)
            if source.startswith("/*", self._at):
                is_trimmed = self._comment()
            else:
                self._tokens.append(Token(Kind.OPEN, "{{", found))
                is_trimmed = self._action(found)

    def _has_left_trim(self, found: int) -> bool:
        marker = self._source[found + 2 : found + 4]
        return len(marker) == _TRIM_LENGTH and marker[0] == "-" and marker[1] in _SPACE

    def _comment(self) -> bool:
        end = self._source.find("*/", self._at)
        if end < 0:
            raise error_at(self._source, self._at, "unclosed comment")
        start, self._at = self._at, end + 2
        length = self._right_length()
        if not length:
            raise error_at(self._source, start, "comment ends before closing delimiter")
        self._at += length
        return length > len("}}")

    def _action(self, opened: int) -> bool:
        """Read to the end of an action; return whether it trims the text after it."""
        source = self._source
        while True:
            has_space = False
            while not (length := self._right_length()) and source[self._at : self._at + 1] in (
                *_SPACE,
            ):
                has_space = True
                self._at += 1
            if length:
                self._tokens.append(Token(Kind.CLOSE, "}}", self._at, has_space))
                self._at += length
                return length > len("}}")
            if self._at >= len(source):
                raise error_at(source, opened, "unclosed action")
            self._tokens.append(self._token(has_space))

    def _token(self, has_space: bool) -> Token:
        source, start = self._source, self._at
        for kind, pattern in _INSIDE:
            if found := pattern.match(source, start):
                self._at = found.end()
                return Token(kind, found[0], start, has_space)
        character = source[start]
        if reason := _UNFINISHED.get(character):
            raise error_at(source, start, reason)
        raise error_at(source, start, f"unexpected {quoted(character)} in action")

    def _right_length(self) -> int:
        """Return the length of a closing delimiter here, with its trim marker, else 0."""
        source, at = self._source, self._at
        if source.startswith("}}", at):
            return 2
        if source.startswith("-}}", at + 1) and source[at] in _SPACE:
            return _TRIM_LENGTH + 2
        return 0
