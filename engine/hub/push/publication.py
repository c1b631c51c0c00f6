"""A publication: the files that a push uploads, and their model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

CARD: Final = "README.md"
"""What the Hub shows as a repository's card."""


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file that is uploaded as it is."""

    name: str
    """What it is called in the repository."""
    path: Path
    size_bytes: int
    sha256: str
    """Of the content that was checked; '' where only its size was."""


@dataclass(frozen=True, slots=True)
class Publication:
    """An adapter that may be uploaded."""

    kind: Literal["gguf", "peft"]
    title: str
    method: str
    """`LORA`, or another `peft_type` of PEFT."""
    is_usable: bool
    """Whether `tui run --lora` takes it."""
    files: tuple[OutgoingFile, ...]
    base_id: str
    """The base's repository on the Hub, `meta-llama/Llama-3.2-1B`; '' where it is not known."""
    facts: tuple[tuple[str, str], ...]
    """What the card's table says: a heading and its value."""
    description: str = ""
    stack: tuple[tuple[str, float], ...] = ()
    """The adapters it was fused from, each with its scale."""
    readme: str | None = None
    """The card that the adapter has already; None where there is none."""
    notices: tuple[str, ...] = ()
    """Sentences on what a person should know before it is public."""
