"""What the Hub knows of one repository: its newest commit, its files, its card."""

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
    """The commit, '' where the repository is empty."""
    files: tuple[HubFile, ...]
    base_models: tuple[str, ...]
    """What its card says that it was trained on."""


def repository_info(repo: str) -> RepositoryInfo:
    """Ask for a repository, in one request that is repeated where the Hub asks for patience.

    Raises what the client raises, and `ValueError` where the answer is nonsense, for
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
    """Return what a card gives as one text or a list of them; anything else is left out."""
    if isinstance(value, str):
        return (value,)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _files(siblings: Any) -> list[HubFile]:
    found = []
    for sibling in siblings if isinstance(siblings, list) else ():
        name = sibling.get("rfilename") if isinstance(sibling, Mapping) else None
        if not isinstance(name, str) or not is_safe(name):
            continue  # a name that leads out of the repository is nothing to download
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
