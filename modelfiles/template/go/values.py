"""Values of Go templates: their truth, type names and printed forms."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from modelfiles.template.bounds import limit_length

Value: TypeAlias = "str | int | float | bool | list[Value] | Mapping[str, Value] | Struct | None"
"""None is Go's nil, and also the value of a key that is absent from a map."""

NO_VALUE = "<no value>"


@dataclass(frozen=True, slots=True)
class Struct:
    """A record with fixed fields: access to an unknown field is an error."""

    type_name: str
    fields: Mapping[str, Value]
    required: tuple[str, ...] = ()
    """Fields that JSON includes even if they are empty."""


def is_true(value: Value) -> bool:
    """Return whether `if` treats a value as true: all but zero, empty and nil."""
    return True if isinstance(value, Struct) else bool(value)


def type_name(value: Value) -> str:
    """Return Go's name for the type of a value."""
    if isinstance(value, Struct):
        return value.type_name
    if value is None:
        return "nil"
    names = {bool: "bool", int: "int", float: "float64", str: "string"}
    return names.get(type(value), "map" if isinstance(value, Mapping) else "slice")


def text_of(value: Value) -> str:
    """Return the printed form of a value: lists, maps and records as compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return NO_VALUE
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, int):
        return json.dumps(value)
    return json_text(value)


def json_text(value: Value) -> str:
    """Return compact JSON as Go writes it: keys of maps sorted, `<`, `>` and `&` escaped."""
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    limit_length(len(text))
    return text


def float_text(value: float) -> str:
    """Return a float in the fewest digits, without a trailing `.0`, as Go prints it."""
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    mantissa = mantissa.removesuffix(".0")
    # Python switches to exponents at 1e16, Go at 1e21.
    if exponent and 0 < int(exponent) < 21:
        return str(int(value))
    return f"{mantissa}e{exponent}" if exponent else mantissa


def _plain(value: Value) -> object:
    if isinstance(value, Struct):
        return {
            _snake_case(name): _plain(field)
            for name, field in value.fields.items()
            if is_true(field) or name in value.required
        }
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
