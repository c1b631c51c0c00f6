"""The functions of Go templates: those of `text/template` that model templates use, and Ollama's.

Functions raise `ValueError`, with the reason, for invalid arguments. `and` and `or` are missing:
they short-circuit, so the evaluator implements them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from modelfiles.template.bounds import limit_length
from modelfiles.template.go.printf import sprintf
from modelfiles.template.go.values import Value, is_true, json_text, text_of, type_name

_COMPARABLE = (bool, int, float, str)
_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def _eq(first: Value, *others: Value) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    for other in others:
        if first is None or other is None:
            if first is other:
                return True
            continue
        if type_name(first) != type_name(other):
            raise ValueError("incompatible types for comparison")
        if not isinstance(first, _COMPARABLE):
            raise ValueError(f"non-comparable type {type_name(first)}")
        if first == other:
            return True
    return False


def _ne(first: Value, second: Value) -> bool:
    return not _eq(first, second)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    def ordered(first: Value, second: Value) -> bool:
        if type_name(first) != type_name(second):
            raise ValueError("incompatible types for comparison")
        if isinstance(first, bool) or not isinstance(first, _COMPARABLE):
            raise ValueError("invalid type for comparison")
        return compare(first, second)

    return ordered


def _not(value: Value) -> bool:
    return not is_true(value)


def _len(value: Value) -> int:
    # Go counts the bytes of a string.
    if isinstance(value, str):
        return len(_bytes(value))
    if isinstance(value, Mapping | list):
        return len(value)
    raise ValueError(f"len of type {type_name(value)}")


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if value is None:
            raise ValueError("index of untyped nil")
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise ValueError(f"a map has no key of type {type_name(key)}")
            value = value.get(key)
        elif isinstance(value, str):
            value = _bytes(value)[_place(key, _len(value) - 1)]
        elif isinstance(value, list):
            value = value[_place(key, len(value) - 1)]
        else:
            raise ValueError(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Value, *places: Value) -> Value:
    if len(places) > (2 if isinstance(value, str) else 3):
        raise ValueError("too many slice indexes")
    if not isinstance(value, str | list):
        raise ValueError(f"can't slice item of type {type_name(value)}")
    size = _len(value)
    bounds = [_place(place, size) for place in places]
    if sorted(bounds) != bounds:
        raise ValueError(f"invalid slice index: {', '.join(map(str, bounds))}")
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else size
    if isinstance(value, str):
        return _bytes(value)[start:end].decode("utf-8", "replace")
    return value[start:end]


def _print(*values: Value) -> str:
    """Concatenate values, with a space between two neighbours if neither is a string."""
    parts: list[str] = []
    n_characters = 0
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            parts.append(" ")
        parts.append(text_of(value))
        n_characters += len(parts[-1])
        limit_length(n_characters)
    return "".join(parts)


def _printf(form: Value, *values: Value) -> str:
    if not isinstance(form, str):
        raise ValueError(f"the format has the type {type_name(form)}, not string")
    return sprintf(form, values)


def _json(value: Value) -> str:
    return "null" if value is None else json_text(value)


def _current_date(*_ignored: Value) -> str:
    return date.today().isoformat()


def _yesterday_date(*_ignored: Value) -> str:
    return (date.today() - timedelta(days=1)).isoformat()


def _to_typescript_type(value: Value) -> str:
    """Return the TypeScript type of a tool's property, given as a map with `type` or `anyOf`."""
    if not isinstance(value, Mapping):
        return "any"
    choices = value.get("anyOf")
    if isinstance(choices, list) and choices:
        return " | ".join(_to_typescript_type(choice) for choice in choices)
    types = value.get("type")
    names = types if isinstance(types, list) else [types]
    return " | ".join(_TYPESCRIPT.get(str(name), "any") for name in names) or "any"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _place(place: Value, last: int) -> int:
    if isinstance(place, bool) or not isinstance(place, int):
        raise ValueError(f"cannot index slice/array with type {type_name(place)}")
    if not 0 <= place <= last:
        raise ValueError(f"index out of range: {place}")
    return place


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A function and its number of operands; `run` raises `ValueError` for invalid arguments."""

    run: Callable[..., Value]
    n_least: int
    n_most: int | None = None
    """None means no limit."""

    def takes(self, n_operands: int) -> bool:
        """Return whether the function accepts `n_operands` operands."""
        return self.n_least <= n_operands and (self.n_most is None or n_operands <= self.n_most)


FUNCTIONS = {
    "eq": FunctionSpec(_eq, 1),
    "ne": FunctionSpec(_ne, 2, 2),
    "lt": FunctionSpec(_ordered(operator.lt), 2, 2),
    "le": FunctionSpec(_ordered(operator.le), 2, 2),
    "gt": FunctionSpec(_ordered(operator.gt), 2, 2),
    "ge": FunctionSpec(_ordered(operator.ge), 2, 2),
    "not": FunctionSpec(_not, 1, 1),
    "len": FunctionSpec(_len, 1, 1),
    "index": FunctionSpec(_index, 1),
    "slice": FunctionSpec(_slice, 1, 4),
    "print": FunctionSpec(_print, 0),
    "printf": FunctionSpec(_printf, 1),
    "json": FunctionSpec(_json, 1, 1),
    "currentDate": FunctionSpec(_current_date, 0),
    "yesterdayDate": FunctionSpec(_yesterday_date, 0),
    "toTypeScriptType": FunctionSpec(_to_typescript_type, 1, 1),
}

LAZY = ("and", "or")
"""Short-circuiting functions, which the evaluator implements."""
