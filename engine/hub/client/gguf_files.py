"""Which files of a repository are meant: GGUF quantisations by name, split files as one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final

from engine.errors import HubError
from modelfiles.references.hub import PREFERRED, HubReference
from modelfiles.wording import hint, printable, quoted

_SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf\Z)", re.IGNORECASE)
_QUANT: Final = re.compile(
    r"(?:\A|[-._/])((?:UD-)?(?:I?Q[1-8](?:_[A-Z0-9]+)*|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4"
    r"|BF16|FP?16|FP?32))(?=[-.]|\Z)",
    re.IGNORECASE,
)
# What lies beside models and is none: vision projectors and importance matrices.
_BESIDE: Final = re.compile(r"mmproj|imatrix", re.IGNORECASE)
_SENSIBLE_BITS: Final = 4
_MAX_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    path: str
    size_bytes: int
    """0 where the Hub names none."""
    sha256: str | None = None
    """Hex digest of the content, where the Hub knows it: of large files."""


@dataclass(frozen=True, slots=True)
class GgufChoice:
    """One GGUF that can be chosen, whole: a file, or all parts of a split one in order."""

    label: str
    """The quantisation as the file's name says it, else the stem."""
    files: tuple[HubFile, ...]
    count: int
    """How many files it has when it is complete."""

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(file.size_bytes for file in self.files)

    @property
    def stem(self) -> str:
        """The name of the file without folder, part number and ending."""
        return PurePosixPath(_SHARD.sub("", self.files[0].path)).stem


def chosen_files(reference: HubReference, files: Iterable[HubFile]) -> tuple[HubFile, ...]:
    """Return the files that a reference means; raises as `chosen_gguf` does."""
    return chosen_gguf(reference, files).files


def chosen_gguf(reference: HubReference, files: Iterable[HubFile]) -> GgufChoice:
    """Return the GGUF that a reference means, of a split model with all files in order.

    Of a model the quantisation named, whatever its case; else Q4_K_M; else the smallest of four
    bits and more; else the largest there is. Raises `HubError` where there is none, several
    fit equally, or a part is missing.
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
    """Return the GGUF models or adapters among the files, sorted by name."""
    groups: dict[str, list[HubFile]] = {}
    for file in sorted(files, key=lambda file: file.path):
        if file.path.lower().endswith(".gguf") and not _BESIDE.search(file.path):
            groups.setdefault(_SHARD.sub("", file.path), []).append(file)
    return [_choice(path, tuple(group)) for path, group in groups.items()]


def _choice(path: str, files: tuple[HubFile, ...]) -> GgufChoice:
    shard = _SHARD.search(files[0].path)
    return GgufChoice(label_of(path), files, int(shard[2]) if shard is not None else 1)


def label_of(path: str) -> str:
    """Return the quantisation as a file's name gives it, in capitals; else the name's stem."""
    name = PurePosixPath(path)
    # A folder may say what the file's name does not.
    found = _QUANT.findall(name.stem) or _QUANT.findall(str(name.parent))
    return str(found[-1]).upper() if found else name.stem


def _named(reference: HubReference, choices: Sequence[GgufChoice]) -> GgufChoice:
    wanted = (reference.choice or "").lower()
    for is_meant in (
        lambda c: any(wanted == file.path.lower() for file in c.files),
        lambda c: wanted in (c.label.lower(), c.stem.lower(), f"{c.stem}.gguf".lower()),
        # UD-Q4_K_XL is what some authors call their own mixtures.
        lambda c: f"ud-{wanted}" == c.label.lower(),
    ):
        found = [choice for choice in choices if is_meant(choice)]
        if len(found) > 1:
            # The same quantisation of several models; a plain file before one in a folder.
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
    """Return the bits of a weight as a name of a quantisation gives them; 0 if it is none."""
    if not _QUANT.fullmatch(label):
        return 0
    digits = re.search(r"\d+", label.upper().removeprefix("UD-"))
    return int(digits[0]) if digits is not None else 0


def is_safe(path: str) -> bool:
    """Whether a path stays inside its repository, on every system."""
    parts = path.replace("\\", "/").split("/")
    is_inside = not any(part in ("", ".", "..") for part in parts)
    # A drive, such as C:, leads elsewhere on Windows; what steers a terminal names no file.
    return is_inside and not PureWindowsPath(path).drive and path.isprintable()


def listing(names: Sequence[str]) -> str:
    """Return names as a message lists them, at most 12."""
    shown = [printable(name) for name in names[:_MAX_LISTED]]
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(shown) + more
