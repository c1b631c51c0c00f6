"""Evaluate literals of Go templates: strings, character constants and numbers."""

from __future__ import annotations

import math
import re

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|\\"
)
_SIMPLE = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))
_INTEGER = re.compile(r"[+-]?(?:0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*)\Z")
_FLOAT = re.compile(r"[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?\Z")
_INT64 = 2**63
_MAX_DIGITS = 400
"""Most characters of a number; longer ones fit no Go type, and Python's int() refuses more than
4,300 digits."""


def unquoted(literal: str) -> str:
    """Return the text of a string or character literal, given with its quotes.

    Raises `ValueError` for an invalid escape.
    """
    quote, inner = literal[0], literal[1:-1]
    if quote == "`":
        # Go drops carriage returns from raw strings.
        return inner.replace("\r", "")
    parts: list[bytes] = []
    end = 0
    for escape in _ESCAPE.finditer(inner):
        parts.append(inner[end : escape.start()].encode("utf-8", "surrogatepass"))
        parts.append(_escaped(escape, quote))
        end = escape.end()
    parts.append(inner[end:].encode("utf-8", "surrogatepass"))
    return b"".join(parts).decode("utf-8", "replace")


def _escaped(escape: re.Match[str], quote: str) -> bytes:
    simple, byte, octal, short, long = escape.groups()
    if simple is not None:
        if simple in "'\"" and simple != quote:
            raise ValueError
        return _SIMPLE[simple].encode()
    if byte is not None:
        return bytes([int(byte, 16)])
    if octal is not None:
        return bytes([int(octal, 8)])
    digits = short or long
    if digits is None:
        raise ValueError
    return chr(int(digits, 16)).encode()


def number(text: str) -> int | float:
    """Return the value of a number; raises `ValueError` for bad syntax and for overflow."""
    if len(text) > _MAX_DIGITS:
        raise ValueError
    if _INTEGER.match(text):
        digits = text.lstrip("+-")
        if re.match(r"0[0-7_]", digits):  # C-style octal, without an "o"
            digits = f"0o{digits[1:].lstrip('_')}"
        value = int(digits, 0) * (-1 if text.startswith("-") else 1)
        if not -_INT64 <= value < _INT64:
            raise ValueError
        return value
    if _FLOAT.match(text):
        real = float(text)
        if math.isfinite(real):
            return real
    raise ValueError
