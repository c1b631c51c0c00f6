"""Read an adapter's name and base model from the front matter of its README."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine.adapters.foreign.formats.untrusted_file import open_file, read_exactly
from engine.errors import AdapterError

MAX_CARD_BYTES: Final = 64 * 1024
_FRONT: Final = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_LINE: Final = re.compile(r"^(base_model|model_name)[ \t]*:[ \t]*(.*)$", re.MULTILINE)
_ITEM: Final = re.compile(r"\n[ \t]*-[ \t]+(.*)")


def read_card(folder: Path) -> Mapping[str, str]:
    """Return `base_model` and `model_name` of the folder's README, as far as present.

    Takes the first base of a list. Returns nothing for a README that is absent or unreadable.
    """
    try:
        file, stamp = open_file(folder / "README.md")
        with file:
            n_bytes = min(stamp.size_bytes, MAX_CARD_BYTES)
            text = read_exactly(folder, file, 0, n_bytes).decode("utf-8", errors="replace")
    except AdapterError:
        return {}
    front = _FRONT.match(text.replace("\r\n", "\n"))
    if front is None:
        return {}
    values: dict[str, str] = {}
    for line in _LINE.finditer(front[1]):
        value = line[2]
        if not value.strip() and (item := _ITEM.match(front[1], line.end())):
            value = item[1]
        value = value.strip().strip("'\"").strip()
        if value and value.isprintable():
            values.setdefault(line[1], value)
    return values
