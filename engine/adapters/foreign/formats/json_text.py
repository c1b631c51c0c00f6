"""Parse JSON from untrusted files; refuse duplicate names and non-finite numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from modelfiles.wording import shown


class JsonError(ValueError):
    """A fault of a JSON text, worded as part of a sentence."""


def parse_object(text: bytes) -> Mapping[str, object]:
    """Return the text's top-level object; raise only `JsonError`."""
    try:
        value = json.loads(
            text.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except JsonError:
        raise
    except UnicodeDecodeError:
        raise JsonError("it is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"it is not JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    except ValueError:  # Python refuses integers of over 4300 digits
        raise JsonError("it holds a number of thousands of digits") from None
    if not isinstance(value, dict):
        raise JsonError("it is not a JSON object")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise JsonError(f"it names {shown(name)} twice")
            seen.add(name)
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"it holds the number {name}")
