"""Convert inline Markdown (emphasis, code, links) to styled text."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it.token import Token
from textual.content import Content, Span

from tui.chat.themes import MUTED
from tui.text.sanitize import printable

_STYLES = {"strong_open": "bold", "em_open": "italic", "s_open": "strike"}
_CODE_STYLE = "$text-accent"
_LINK_STYLE = "underline"


def inline_content(tokens: Sequence[Token]) -> Content:
    """Return markdown-it's inline tokens as text with styles.

    Line breaks are kept, because models break lines on purpose (verse, addresses). The address of a
    link is shown beside its text instead of being hidden behind it. The parser decodes character
    references (`&#x202e;`), so the text is cleaned once more here.
    """
    text = ""
    spans: list[Span] = []
    opened: list[tuple[int, str]] = []
    addresses: list[tuple[int, str]] = []
    for token in tokens:
        if token.type in _STYLES:
            opened.append((len(text), _STYLES[token.type]))
        elif token.type == "link_open":
            opened.append((len(text), _LINK_STYLE))
            addresses.append((len(text), printable(str(token.attrGet("href") or ""))))
        elif token.type.endswith("_close"):
            start, style = opened.pop()
            spans.append(Span(start, len(text), style))
            if token.type == "link_close":
                begin, address = addresses.pop()
                if address and not address.endswith(text[begin:]):
                    shown = f" ({address})"
                    spans.append(Span(len(text), len(text) + len(shown), MUTED))
                    text += shown
        elif token.type in ("softbreak", "hardbreak"):
            text += "\n"
        elif token.type == "code_inline":
            code = printable(token.content)
            spans.append(Span(len(text), len(text) + len(code), _CODE_STYLE))
            text += code
        elif token.type == "image":
            source = printable(str(token.attrGet("src") or ""))
            text += f"[image: {printable(token.content)}] ({source})"
        else:
            text += printable(token.content)
    # Spans are sorted so that the same tokens give equal contents, however they were nested.
    return Content(text, sorted((s for s in spans if s.end > s.start), key=lambda s: s[:2]))
