"""Tell the address on the Hub from the path of a file in the Hub's cache."""

from __future__ import annotations

import re

_IN_CACHE = re.compile(r"/models--([^/]+?)--([^/]+)/snapshots/[0-9a-f]{40}(?:/(.+))?\Z")


def hub_address(path: str) -> str:
    """Return `hf.co/user/repo[:file]` for a path in the Hub's cache, '' for any other."""
    found = _IN_CACHE.search(path)
    if found is None:
        return ""
    return f"hf.co/{found[1]}/{found[2]}" + (f":{found[3]}" if found[3] else "")
