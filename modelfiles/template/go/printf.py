"""Go's `printf`: the verbs of `fmt` for strings, numbers and booleans."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from modelfiles.template.bounds import limit_length, limit_widths
from modelfiles.template.go.values import NO_VALUE, Value, float_text, text_of, type_name

_VERB = re.compile(r"%([-+# 0]*)([0-9]*)(?:(\.)([0-9]*))?(.?)", re.DOTALL)


def sprintf(form: str, values: Sequence[Value]) -> str:
    """Return `form` with its verbs replaced by `values`, marking mismatches as Go does.

    Supports %v %s %q %d %x %X %o %b %c %t %e %f %g and %%, with flags, width and precision.
    Raises `TemplateError` if the text would exceed the length limit.
    """
    limit_widths(form)
    parts: list[str] = []
    n_used = end = n_characters = 0
    for verb in _VERB.finditer(form):
        literal, end_of_verb = form[end : verb.start()], verb.end()
        end = end_of_verb
        flags, width, point, precision, letter = verb.groups()
        if letter == "%":
            text = "%"
        elif not letter:
            text = "%!(NOVERB)"
        elif n_used == len(values):
            text = f"%!{letter}(MISSING)"
        else:
            n_digits = int(precision or 0) if point else None
            text = _padded(_formatted(letter, values[n_used], flags, n_digits), flags, width)
            n_used += 1
        parts += [literal, text]
        n_characters += len(literal) + len(text)
        limit_length(n_characters)
    parts.append(form[end:])
    if n_used < len(values):
        extra = ", ".join(f"{type_name(v)}={text_of(v)}" for v in values[n_used:])
        limit_length(n_characters + len(extra))
        parts.append(f"%!(EXTRA {extra})")
    return "".join(parts)


def _formatted(letter: str, value: Value, flags: str, n_digits: int | None) -> str:
    sign = "+" if "+" in flags else ""
    match letter, value:
        case "v", None:
            return "<nil>"
        case ("s", str()) | ("v", _):
            text = text_of(value)
            return text if letter == "v" or n_digits is None else text[:n_digits]
        case "s", None:
            return "%!s(<nil>)"
        case "q", str():
            return json.dumps(value, ensure_ascii=False)
        case "t", bool():
            return text_of(value)
        case (("d" | "x" | "X" | "o" | "b" | "c"), int()) if not isinstance(value, bool):
            if letter == "c":
                return _character(value)
            return format(value, f"{sign}{letter}")
        case (("x" | "X"), str()):
            digits = value.encode("utf-8", "replace").hex()
            return digits if letter == "x" else digits.upper()
        case (("e" | "f" | "g"), float()):
            if letter == "g" and n_digits is None:
                return float_text(value)
            return format(value, f"{sign}.{6 if n_digits is None else n_digits}{letter}")
        case "s", (list() | dict()):
            return text_of(value)
    shown = NO_VALUE if value is None else f"{type_name(value)}={text_of(value)}"
    return f"%!{letter}({shown})"


def _padded(text: str, flags: str, width: str) -> str:
    n = int(width or 0)
    if "-" in flags:
        return text.ljust(n)
    return text.zfill(n) if "0" in flags else text.rjust(n)


def _character(code: int) -> str:
    # Surrogates are replaced, since a text with one cannot be tokenised.
    is_character = 0 <= code < 0xD800 or 0xE000 <= code < 0x110000
    return chr(code) if is_character else "\N{REPLACEMENT CHARACTER}"
