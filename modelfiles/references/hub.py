"""Parse references to the Hugging Face Hub: `hf.co/user/repo[:quantisation or file]`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from modelfiles.wording import quoted

Kind = Literal["model", "adapter"]

PREFERRED = "Q4_K_M"
"""The default quantisation if there are several: the usual compromise between size and quality,
and Ollama's default."""

_PREFIX = re.compile(
    r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/(?:models/)?|hf://(?:models/)?",
    re.IGNORECASE,
)
# The URL path of a file's or folder's page, or of the file itself.
_PAGE = re.compile(r"/(?:blob|resolve|tree)/main(?:/(?P<file>[^?#]*))?(?:[?#].*)?\Z")
_HOST = re.compile(r"^(https?://)?(hf\.co|huggingface\.co)/")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}\Z")


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository of the Hub and the choice of one of its files."""

    repo: str
    """`user/repo`."""
    choice: str | None
    """For a model a quantisation (`Q4_K_M`) or a file, for an adapter a file; None if not given."""
    kind: Kind

    @classmethod
    def parse(cls, text: str, kind: Kind) -> Self | None:
        """Parse a reference; return None if the text does not have the prefix of one.

        Raises `ValueError` with a reason if it has the prefix but names no repository.
        """
        prefix = _PREFIX.match(text)
        if prefix is None:
            return None
        rest = text[prefix.end() :].strip()
        page = _PAGE.search(rest)
        choice: str | None
        if page is not None:
            rest, choice = rest[: page.start()], (page["file"] or "").rstrip("/") or None
        else:
            rest, _, tag = rest.partition(":")
            # "latest" is Ollama's default tag.
            choice = None if tag.lower() in ("", "latest") else tag
        parts = rest.rstrip("/").split("/")
        if len(parts) != 2 or not all(_PART.match(p) and ".." not in p for p in parts):
            what = "quantisation" if kind == "model" else "file"
            raise ValueError(
                f"{quoted(rest)} is no repository of the Hugging Face Hub; write"
                f" hf.co/user/repo or hf.co/user/repo:<{what}>"
            )
        return cls("/".join(parts), choice, kind)

    @property
    def display(self) -> str:
        """The reference as written in a Modelfile."""
        choice = f":{self.choice}" if self.choice is not None else ""
        return f"hf.co/{self.repo}{choice}"


def without_host(text: str) -> str:
    """Return a search text without the Hub's host, which leaves `user/repo` of a URL."""
    return _HOST.sub("", text)


Download = Callable[[HubReference], Path]
"""Download a file and return its path, for a split model that of the first shard; raises
`ReferenceNotFoundError` with the reason if that fails."""
