"""Find the Hugging Face Hub repositories that stand for the base model of a GGUF file.

An adapter's card names the repository it was trained on, which is rarely the one the GGUF names:
people train on Unsloth's copies, on 4-bit copies, on the plain model or on its instruct version.
So an identity is a list of repositories, the likeliest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engine.gguf.header import GgufHeader

_REPOSITORY: Final = re.compile(
    r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/"
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*?)(?:\.git)?/?"
)
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FOUR_BIT: Final = re.compile(r"-(?:unsloth-)?bnb-4bit\Z", re.IGNORECASE)
_GGUF: Final = re.compile(r"-(?:i1-)?gguf\Z", re.IGNORECASE)
_CHAT: Final = re.compile(r"-(?:instruct|it|chat)\Z", re.IGNORECASE)
_UNSLOTH: Final = "unsloth"
_MAX_PARENTS: Final = 8


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """A base model's names on the Hub."""

    name: str
    """`general.name`, else the file's stem; for display."""
    repositories: tuple[str, ...]
    """`user/repo`, the likeliest first: those named in the file, then their usual copies."""


def identity_of(base: GgufHeader) -> BaseIdentity:
    """Return the repositories that adapters for a base may name as their base model.

    Reads `general.base_model.*`, `general.source.*` and `general.repo_url` as written by gguf-py.
    If the metadata names none, the result has no repositories.
    """
    named = list(_named(base))
    finetune = (base.text("general.finetune") or "").strip().replace(" ", "-")
    tuned = [f"{repo}-{finetune}" for repo in named if finetune and _is_plain(repo, finetune)]
    originals = _unique((*tuned, *named))
    copies = (alias for repo in originals for alias in aliases(repo))
    name = base.text("general.name") or base.path.stem
    return BaseIdentity(name, _unique((*originals, *copies)))


def aliases(repo: str) -> tuple[str, ...]:
    """Return the usual copies of a repository: Unsloth's, 4-bit, instruct and plain.

    `meta-llama/Llama-3.2-1B-Instruct` gives `unsloth/Llama-3.2-1B-Instruct`, its two 4-bit
    copies, and the same for `Llama-3.2-1B`.
    """
    user, _, name = repo.partition("/")
    whole = _FOUR_BIT.sub("", _GGUF.sub("", name))
    plain = _CHAT.sub("", whole)
    chats = () if plain != whole else (f"{whole}-Instruct",)
    found = []
    for variant in _unique((whole, plain, *chats)):
        found += [
            f"{user}/{variant}",
            f"{_UNSLOTH}/{variant}",
            f"{_UNSLOTH}/{variant}-bnb-4bit",
            f"{_UNSLOTH}/{variant}-unsloth-bnb-4bit",
        ]
    return tuple(alias for alias in _unique(found) if alias != repo)


def _named(base: GgufHeader) -> Iterable[str]:
    """Yield the repositories that the metadata names."""
    keys = ["general.source.repo_url", "general.source.huggingface.repository", "general.repo_url"]
    n_parents = min(base.integer("general.base_model.count") or 0, _MAX_PARENTS)
    for index in range(n_parents):
        keys.append(f"general.base_model.{index}.repo_url")
    for key in keys:
        text = (base.text(key) or "").strip()
        found = _REPOSITORY.fullmatch(text)
        if found is not None:
            yield _GGUF.sub("", found["repo"])
        elif key.endswith("repository") and _NAME.fullmatch(text):
            yield text


def _is_plain(repo: str, finetune: str) -> bool:
    return finetune.lower() not in repo.lower()


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return names without repetitions; names that differ only in case are the same on the Hub."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(name.lower(), name)
    return tuple(seen.values())
