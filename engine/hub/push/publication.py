"""A publication: the files that a push uploads, and their model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

CARD: Final = "README.md"
"""The file that the Hub shows as a repository's card."""


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file to upload unchanged."""

    name: str
    """Its name in the repository."""
    path: Path
    size_bytes: int
    sha256: str
    """Hex digest of the content that was checked."""


@dataclass(frozen=True, slots=True)
class Publication:
    """An adapter that has passed the checks for upload."""

    kind: Literal["gguf", "peft"]
    title: str
    method: str
    """`LORA`, or another `peft_type` of PEFT."""
    is_usable: bool
    """Whether `tui run --lora` accepts it."""
    files: tuple[OutgoingFile, ...]
    base_id: str
    """The base model's repository on the Hub, `meta-llama/Llama-3.2-1B`; '' if unknown."""
    facts: tuple[tuple[str, str], ...]
    """Rows of the card's table: heading and value."""
    description: str = ""
    stack: tuple[tuple[str, float], ...] = ()
    """The adapters it was fused from, each with its scale."""
    readme: str | None = None
    """Text of the adapter's existing card; None if it has none."""
    notices: tuple[str, ...] = ()
    """Sentences the user should read before the adapter becomes public."""
