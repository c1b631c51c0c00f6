"""Choose GGUF files of a repository by quantisation or name, treating split files as one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final

from engine.errors import HubError
from modelfiles.references.hub import PREFERRED, HubReference
from modelfiles.references.split_files import SHARD
from modelfiles.wording import hint, listed, printable, quoted

_SHARD: Final = re.compile(SHARD.pattern, re.IGNORECASE)
_QUANT: Final = re.compile(
    r"(?:\A|[-._/])((?:UD-)?(?:I?Q[1-8](?:_[A-Z0-9]+)*|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4"
    r"|BF16|FP?16|FP?32))(?=[-.]|\Z)",
    re.IGNORECASE,
)
# GGUF files that accompany models: vision projectors and importance matrices.
_BESIDE: Final = re.compile(r"mmproj|imatrix", re.IGNORECASE)
_SENSIBLE_BITS: Final = 4
_MAX_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    path: str
    size_bytes: int
    """0 if the Hub gives none."""
    sha256: str | None = None
    """Hex digest of the content; the Hub gives it for large files only."""


@dataclass(frozen=True, slots=True)
class GgufChoice:
    """One GGUF model or adapter: a single file, or the parts of a split one in order."""

    label: str
    """The quantisation in the file's name, else the stem."""
    files: tuple[HubFile, ...]
    count: int
    """Number of files when complete."""

    @property
    def size_bytes(self) -> int:
        """Total size of the parts present."""
        return sum(file.size_bytes for file in self.files)

    @property
    def stem(self) -> str:
        """File name without folder, part number and extension."""
        return PurePosixPath(_SHARD.sub("", self.files[0].path)).stem


def chosen_files(reference: HubReference, files: Iterable[HubFile]) -> tuple[HubFile, ...]:
    """Return the files of the GGUF that a reference means; raises like `chosen_gguf`."""
    return chosen_gguf(reference, files).files


def chosen_gguf(reference: HubReference, files: Iterable[HubFile]) -> GgufChoice:
    """Return the GGUF that a reference means; a split one has its files in order.

    A reference may name a path, a stem or a quantisation, in any case. Without a name the choice
    is the only GGUF; else, for a model, Q4_K_M, the smallest of four bits and more, or the
    largest. Raises `HubError` if there is no match, several match equally, or a part is missing.
    """
    choices = gguf_choices(files)
    if not choices:
        raise HubError(
            f"{reference.display} has no GGUF file: choose a repository with GGUF files, most are "
            "called like the model with -GGUF at the end."
        )
    if reference.choice is not None:
        choice = _named(reference, choices)
    elif len(choices) == 1:
        choice = choices[0]
    elif reference.kind == "adapter":
        raise HubError(
            f"{reference.display} has {len(choices)} GGUF files: name one behind a colon, "
            f"{listing([file.path for c in choices for file in c.files])}."
        )
    else:
        choice = _default(choices)
    if len(choice.files) != choice.count:
        raise HubError(
            f"{reference.display} lacks parts of {quoted(choice.label)}, {len(choice.files)} of "
            f"{choice.count} are there: choose another quantisation or tell its author."
        )
    return choice


def gguf_choices(files: Iterable[HubFile]) -> list[GgufChoice]:
    """Return the GGUF models and adapters among the files, sorted by path."""
    groups: dict[str, list[HubFile]] = {}
    for file in sorted(files, key=lambda file: file.path):
        if file.path.lower().endswith(".gguf") and not _BESIDE.search(file.path):
            groups.setdefault(_SHARD.sub("", file.path), []).append(file)
    return [_choice(path, tuple(group)) for path, group in groups.items()]


def _choice(path: str, files: tuple[HubFile, ...]) -> GgufChoice:
    shard = _SHARD.search(files[0].path)
    return GgufChoice(label_of(path), files, int(shard[2]) if shard is not None else 1)


def label_of(path: str) -> str:
    """Return the quantisation in a file's path, in upper case; else the file's stem."""
    name = PurePosixPath(path)
    # The folder may name the quantisation where the file does not.
    found = _QUANT.findall(name.stem) or _QUANT.findall(str(name.parent))
    return str(found[-1]).upper() if found else name.stem


def _named(reference: HubReference, choices: Sequence[GgufChoice]) -> GgufChoice:
    wanted = (reference.choice or "").lower()
    for is_meant in (
        lambda c: any(wanted == file.path.lower() for file in c.files),
        lambda c: wanted in (c.label.lower(), c.stem.lower(), f"{c.stem}.gguf".lower()),
        # Some authors prefix their own mixtures with UD-, as in UD-Q4_K_XL.
        lambda c: f"ud-{wanted}" == c.label.lower(),
    ):
        found = [choice for choice in choices if is_meant(choice)]
        if len(found) > 1:
            # The same quantisation of several models.
            names = listing([choice.files[0].path for choice in found])
            raise HubError(
                f"{reference.display} fits {len(found)} files: name one of them, {names}."
            )
        if found:
            return found[0]
    labels = list(dict.fromkeys(choice.label for choice in choices))
    if reference.kind == "adapter":
        labels = [choice.files[0].path for choice in choices]
    close = hint(reference.choice or "", labels)
    raise HubError(
        f"hf.co/{reference.repo} has no {quoted(reference.choice or '')}{close}: there are "
        f"{listing(labels)}."
    )


def _default(choices: Sequence[GgufChoice]) -> GgufChoice:
    complete = [choice for choice in choices if len(choice.files) == choice.count] or choices
    preferred = [choice for choice in complete if choice.label == PREFERRED]
    sensible = [choice for choice in complete if _bits(choice.label) >= _SENSIBLE_BITS]
    if preferred or sensible:
        return min(preferred or sensible, key=lambda choice: choice.size_bytes)
    return max(complete, key=lambda choice: choice.size_bytes)


def _bits(label: str) -> int:
    """Return the bits per weight in a quantisation's name; 0 if `label` is not one."""
    if not _QUANT.fullmatch(label):
        return 0
    digits = re.search(r"\d+", label.upper().removeprefix("UD-"))
    return int(digits[0]) if digits is not None else 0


def is_safe(path: str) -> bool:
    """Return whether a path stays inside its repository on every system, and is printable."""
    parts = path.replace("\\", "/").split("/")
    is_inside = not any(part in ("", ".", "..") for part in parts)
    # A drive such as C: leads elsewhere on Windows; unprintable characters can steer a terminal.
    return is_inside and not PureWindowsPath(path).drive and path.isprintable()


def listing(names: Sequence[str]) -> str:
    """Return names joined for a message, at most 12 of them."""
    return listed([printable(name) for name in names], _MAX_LISTED)
