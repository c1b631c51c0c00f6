"""Write the output of commands: data on stdout, messages on stderr, no control characters."""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec

from tui.text.sanitize import printable, printable_line

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def write_text(text: str) -> None:
    """Write a text to stdout, cleaned, ending with a newline; an empty text writes nothing."""
    if text:
        shown = printable(text)
        sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")


def write_source(text: str) -> None:
    """Write a text that must stay unchanged, such as a Modelfile.

    It is cleaned only on a terminal; a file or a pipe gets every character of it.
    """
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def write_json(document: Any) -> None:
    """Write one JSON document to stdout; control characters in it are escaped.

    JSON is UTF-8, and paths need not be: bytes that are not UTF-8 become U+FFFD.
    """
    try:
        encoded = msgspec.json.encode(document)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_as_utf_8(msgspec.to_builtins(document)))
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def _as_utf_8(value: Any) -> Any:
    """Return a document of builtins with U+FFFD for what UTF-8 cannot encode."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_as_utf_8(key): _as_utf_8(each) for key, each in value.items()}
    return [*map(_as_utf_8, value)] if isinstance(value, (list, tuple)) else value


def warn(sentence: str) -> None:
    """Print a warning on stderr about something the user may not expect."""
    _narrate("Warning", sentence)


def note(sentence: str) -> None:
    """Print additional information on stderr."""
    _narrate("Note", sentence)


def _narrate(kind: str, sentence: str) -> None:
    print(f"{kind}: {printable_line(sentence)}", file=sys.stderr)
