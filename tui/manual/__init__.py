"""The manual: a page of Markdown for each topic, which `tui help` and F1 in the chat show.

A page begins with its title and, after an empty line, one line that sums it up. Tables that the
program knows better stand between comments; `python -m tests.support.manual_tables` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

TOPICS: Final = (
    "start",
    "modelfile",
    "keys",
    "commands",
    "settings",
    "adapters",
    "hub",
    "workshop",
    "how-it-works",
    "measurements",
    "gpus",
    "demo",
)
"""What there is a page about, in the order of the list."""

ALSO: Final = {
    "card": "demo",
    "conversion": "adapters",
    "gpu": "gpus",
    "library": "how-it-works",
    "parameters": "modelfile",
    "python": "how-it-works",
    "template": "modelfile",
    "wheels": "gpus",
}
"""Other words that people look for, with the topic whose page speaks of them."""

# The demo's page is its card, which `tui show demo` prints too.
_ELSEWHERE: Final = {"demo": ("modelfiles.demo", "CARD.md")}
_COMMENT: Final = re.compile(r"<!--.*?-->\n", re.DOTALL)
_STARTS_ANEW: Final = re.compile(r"\s*([|#>]|[*-] |\d+\. |```|$)")
_STANDS_ALONE: Final = re.compile(r"\s*([|#]|```|$)")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the manual."""

    topic: str
    title: str
    summary: str
    body: str
    """Markdown, without the title and without comments."""

    @property
    def text(self) -> str:
        """The whole page as Markdown."""
        return f"# {self.title}\n\n{self.body}"

    @property
    def flowing(self) -> str:
        """The body with every paragraph on one line, for who breaks lines by itself."""
        return "\n".join(_unwrapped(self.body.splitlines()))


def topics() -> tuple[Page, ...]:
    """Return every page in the order of the list."""
    return tuple(_read(topic) for topic in TOPICS)


def page(topic: str) -> Page | None:
    """Return the page about a topic or one of its other words, however written; None for none."""
    name = topic.lower()
    name = ALSO.get(name, name)
    return _read(name) if name in TOPICS else None


def _unwrapped(lines: Iterable[str]) -> list[str]:
    joined = [""]
    is_code = False
    for line in lines:
        if is_code or _STARTS_ANEW.match(line) or _STANDS_ALONE.match(joined[-1]):
            joined.append(line)
        else:
            joined[-1] += f" {line.strip()}"
        is_code ^= line.startswith("```")
    return joined[1:]


def _read(topic: str) -> Page:
    package, name = _ELSEWHERE.get(topic, (__name__, f"{topic}.md"))
    text = _COMMENT.sub("", files(package).joinpath(name).read_text(encoding="utf-8"))
    title, _, body = text.partition("\n\n")
    return Page(topic, title.removeprefix("# "), body.partition("\n")[0], body)
