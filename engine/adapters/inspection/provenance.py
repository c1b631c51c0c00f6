"""Read an adapter's origin from its metadata: names, base models, program, license."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from engine.adapters.conversion.identity import (
    BASE_FINGERPRINT_KEY,
    BASE_NAME_KEY,
    VERSION_KEY,
    base_fingerprint,
)
from engine.adapters.fusing.file import fused_stack
from engine.adapters.pairs import invocation_tokens
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import ValueType
from modelfiles.wording import shown

_MAX_BASES: Final = 8
_MAX_TAGS: Final = 64
_FACTS: Final = {
    "author": "general.author",
    "organization": "general.organization",
    "version": "general.version",
    "license": "general.license",
    "repository": "general.repo_url",
    "url": "general.url",
    "source": "general.source.url",
    "task": "adapter.lora.task_name",
    "prompt prefix": "adapter.lora.prompt_prefix",
}


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model that an adapter names; missing texts are empty."""

    name: str
    organization: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The adapter's metadata, unverified."""

    title: str
    """`general.name`, or ''."""
    description: str
    bases: tuple[BaseModel, ...]
    """`general.base_model.*`, at most 8."""
    converter: str
    """The program that wrote the file, or '' if unknown."""
    facts: tuple[tuple[str, str], ...]
    """Further texts with their labels: author, license, repository and so on."""
    tags: tuple[str, ...]
    invocation_tokens: tuple[int, ...]
    """`adapter.alora.invocation_tokens`; empty if the adapter is always on."""


def read_provenance(header: GgufHeader) -> Provenance:
    """Read the provenance from an adapter's metadata; values of a wrong type count as missing.

    Raises `GgufError` if the file changed since its header was read.
    """
    facts = [(label, header.text(key) or "") for label, key in _FACTS.items()]
    return Provenance(
        title=header.text("general.name") or "",
        description=header.text("general.description") or "",
        bases=_bases(header),
        converter=_converter(header),
        facts=tuple((label, text) for label, text in facts if text),
        tags=(header.array("general.tags", ValueType.STRING) or ())[:_MAX_TAGS],
        invocation_tokens=invocation_tokens(header),
    )


def identity_notices(adapter: GgufHeader, base: GgufHeader) -> tuple[str, ...]:
    """Return a warning if an adapter's metadata names another base model than `base`.

    Similar names count as one model, as does a base with the fingerprint that `tui convert` stored.
    Raises `GgufError` if a file changed since its header was read.
    """
    own = base.text("general.name") or ""
    named = [name for name in (adapter.text(BASE_NAME_KEY),) if name]
    named += [model.name for model in _bases(adapter) if model.name]
    if not own or not named or any(_is_same(name, own) for name in named):
        return ()
    if adapter.text(BASE_FINGERPRINT_KEY) == base_fingerprint(base):
        return ()
    return (
        f"The adapter was made for {shown(named[0])}, but the base is called {shown(own)}: unless "
        "these are one model, expect noise.",
    )


def _bases(header: GgufHeader) -> tuple[BaseModel, ...]:
    count = min(max(header.integer("general.base_model.count") or 0, 0), _MAX_BASES)
    models = (_base(header, f"general.base_model.{index}") for index in range(count))
    return tuple(model for model in models if model.name or model.url)


def _base(header: GgufHeader, prefix: str) -> BaseModel:
    parts = (header.text(f"{prefix}.{part}") or "" for part in ("name", "organization", "repo_url"))
    return BaseModel(*parts)


def _converter(header: GgufHeader) -> str:
    if header.integer(VERSION_KEY) is not None:
        return f"tui convert (version {header.integer(VERSION_KEY)})"
    fused = fused_stack(header)
    return f"tui fuse, of {len(fused)} adapters" if fused is not None else ""


def _is_same(first: str, second: str) -> bool:
    """Return whether two names may mean one model, as `Llama-3.2-1B` and `Llama 3.2 1B Q8_0`."""
    a, b = (re.sub(r"[\W_]+", "", name.casefold()) for name in (first, second))
    return bool(a and b) and (a in b or b in a)
