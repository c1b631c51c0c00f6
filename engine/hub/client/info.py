"""Ask the Hub for a repository's newest commit, files and base models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.hub.client.gguf_files import HubFile, is_safe
from engine.hub.client.http import get

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|")


@dataclass(frozen=True, slots=True)
class RepositoryInfo:
    """A repository at its newest commit."""

    repo: str
    sha: str
    """The commit; '' if the repository is empty."""
    files: tuple[HubFile, ...]
    base_models: tuple[str, ...]
    """The base models its card names."""


def repository_info(repo: str) -> RepositoryInfo:
    """Ask the Hub for a repository in one request (retried as `engine.hub.http.get` does).

    Raises what `get` raises, and `ValueError` if the answer does not describe a repository, for
    `engine.hub.client.errors.explained`.
    """
    from huggingface_hub import constants

    told = get(f"{constants.ENDPOINT}/api/models/{repo}", params={"blobs": "true"})
    try:
        answer = told.json()
    except ValueError:
        answer = None
    sha = answer.get("sha") if isinstance(answer, Mapping) else None
    if not isinstance(answer, Mapping) or (isinstance(sha, str) and not _COMMIT.fullmatch(sha)):
        raise ValueError("the answer is no description of a repository, check HF_ENDPOINT")
    card = answer.get("cardData")
    named = card.get("base_model") if isinstance(card, Mapping) else None
    return RepositoryInfo(
        repo=repo,
        sha=sha if isinstance(sha, str) else "",
        files=tuple(_files(answer.get("siblings"))),
        base_models=texts_of(named),
    )


def texts_of(value: Any) -> tuple[str, ...]:
    """Return a card's value, a string or a list, as a tuple of strings; skip other types."""
    if isinstance(value, str):
        return (value,)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _files(siblings: Any) -> list[HubFile]:
    found = []
    for sibling in siblings if isinstance(siblings, list) else ():
        name = sibling.get("rfilename") if isinstance(sibling, Mapping) else None
        if not isinstance(name, str) or not is_safe(name):
            continue  # a path that leads out of the repository must not be downloaded
        size, lfs = sibling.get("size"), sibling.get("lfs")
        sha256 = lfs.get("sha256") if isinstance(lfs, Mapping) else None
        found.append(
            HubFile(
                name,
                max(size, 0) if isinstance(size, int) and size is not True else 0,
                sha256 if isinstance(sha256, str) else None,
            )
        )
    return found
