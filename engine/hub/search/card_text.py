"""Fetch a repository's card and strip front matter, HTML and pictures from it."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import HubError
from engine.hub.client.adapter_files import CARD
from engine.hub.client.errors import explained
from engine.hub.client.heads import address_of
from engine.hub.client.http import get

MAX_BYTES: Final = 64 * 1024
"""Most bytes fetched of a card; the longest cards seen are lists of evaluations."""
MAX_LINES: Final = 200
"""Most lines shown of a card, so that no card takes a second to draw."""
_FRONT_MATTER: Final = re.compile(
    r"\A\ufeff?---[ \t]*\r?\n.*?^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE
)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_PICTURE: Final = re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")
_TAG: Final = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>")
_FENCE: Final = re.compile(r"^ {0,3}(?:```|~~~)")
_EMPTY_LINK: Final = re.compile(r"\[\s*\]\([^)\n]*\)")


def remote_card(repo: str, revision: str) -> str:
    """Return the card as Markdown, cut to its beginning if it is long; '' if there is none.

    Raises `HubError`.
    """
    from huggingface_hub import errors

    headers = {"Range": f"bytes=0-{MAX_BYTES - 1}"}
    try:
        with explained(f"hf.co/{repo}"):
            address = address_of(repo, CARD, revision)
            content = get(address, headers=headers, max_bytes=MAX_BYTES, is_cut=True).content
    except HubError as error:
        response = getattr(error.__cause__, "response", None)
        is_missing = isinstance(error.__cause__, errors.EntryNotFoundError)
        # An empty file has no first byte.
        if is_missing or getattr(response, "status_code", None) == 416:
            return ""
        raise
    text = content.decode("utf-8", "replace")
    return readable(text, repo, is_whole=len(content) < MAX_BYTES)


def readable(text: str, repo: str, *, is_whole: bool = True) -> str:
    """Return a card's Markdown without what a terminal cannot show."""
    body = _FRONT_MATTER.sub("", text, count=1)
    lines = "".join(_without_html(body)).splitlines()
    if len(lines) > MAX_LINES or not is_whole:
        lines = lines[:MAX_LINES]
        if sum(bool(_FENCE.match(line)) for line in lines) % 2:
            lines.append("```")
        lines += ["", f"The rest of the card is at huggingface.co/{repo}."]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def _without_html(body: str) -> list[str]:
    """Return the parts of a card, with HTML and pictures removed outside code blocks."""
    parts: list[str] = []
    prose: list[str] = []
    is_code = False
    for line in body.splitlines(keepends=True):
        is_fence = bool(_FENCE.match(line))
        if is_code or is_fence:
            parts += [_plain("".join(prose)), line]
            prose = []
        else:
            prose.append(line)
        is_code = is_code != is_fence
    return [*parts, _plain("".join(prose))]


def _plain(prose: str) -> str:
    bare = _TAG.sub("", _COMMENT.sub("", prose))
    return _EMPTY_LINK.sub("", _PICTURE.sub(r"\1", bare))
