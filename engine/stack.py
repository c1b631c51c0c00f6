"""Define the adapter stack: an immutable list of adapters with scales, compared by digest."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from engine.errors import AdapterError

SCALE_MIN, SCALE_MAX = -2.0, 2.0
"""Range the rack offers; a Modelfile or the library may exceed it."""


class StackEntry(msgspec.Struct, frozen=True):
    """One adapter in a stack with its scale, which it keeps while switched off."""

    adapter: Adapter
    scale: float = 1.0
    is_enabled: bool = True

    @property
    def is_active(self) -> bool:
        """Whether the entry changes the model: switched on and not at scale 0."""
        return self.is_enabled and self.scale != 0.0


class AdapterStack(msgspec.Struct, frozen=True):
    """An ordered tuple of adapters with scales.

    The order is only for display: LoRA deltas are added to the base's weights, and sums commute.
    Raises `AdapterError` if two entries share a name or a scale is not finite.
    """

    entries: tuple[StackEntry, ...] = ()

    def __post_init__(self) -> None:
        names = [entry.adapter.name for entry in self.entries]
        for name in names:
            if names.count(name) > 1:
                raise AdapterError(
                    f"Two adapters of the stack are called {name!r}: give one another name."
                )
        for entry in self.entries:
            if not math.isfinite(entry.scale):
                raise AdapterError(
                    f"The scale of {entry.adapter.name!r} is {entry.scale}: it must be a number."
                )

    def __iter__(self) -> Iterator[StackEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def active(self) -> tuple[StackEntry, ...]:
        """The entries that change the model."""
        return tuple(entry for entry in self.entries if entry.is_active)

    @property
    def effective(self) -> dict[str, float]:
        """Summed scale per adapter content (sha256), rounded to float32, without zero sums.

        llama.cpp counts a handle once however often it is passed, so equal content under two names
        is one adapter whose scales add up.
        """
        sums: dict[str, float] = {}
        for entry in self.active:
            sums[entry.adapter.sha256] = sums.get(entry.adapter.sha256, 0.0) + entry.scale
        rounded = {sha256: to_float32(scale) for sha256, scale in sums.items()}
        return {sha256: rounded[sha256] for sha256 in sorted(rounded) if rounded[sha256] != 0.0}

    @property
    def digest(self) -> str:
        """Hex digest of the effective stack: equal digests mean equal logits on one base."""
        sha = hashlib.sha256()
        for sha256, scale in self.effective.items():
            sha.update(bytes.fromhex(sha256) + struct.pack("<f", scale))
        return sha.hexdigest()

    @property
    def label(self) -> str:
        """The active part as shown under an answer, `pirate 0.70 + formal 0.40`, or `base`."""
        return label_of((entry.adapter.name, entry.scale) for entry in self.active) or "base"

    def find(self, name: str) -> StackEntry | None:
        """Return the entry of that name, or None."""
        return next((entry for entry in self.entries if entry.adapter.name == name), None)

    def with_added(self, adapter: Adapter, scale: float = 1.0) -> Self:
        """Return the stack with `adapter` appended; raises `AdapterError` if its name is taken."""
        return type(self)((*self.entries, StackEntry(adapter, scale)))

    def without(self, name: str) -> Self:
        """Return the stack without the entry of that name."""
        return type(self)(tuple(e for e in self.entries if e.adapter.name != name))

    def with_scale(self, name: str, scale: float) -> Self:
        """Return the stack with that adapter switched on at `scale`."""
        return self._with(name, scale=scale, is_enabled=True)

    def with_enabled(self, name: str, is_enabled: bool) -> Self:
        """Return the stack with that adapter switched on or off, its scale kept."""
        return self._with(name, is_enabled=is_enabled)

    def toggled(self, name: str) -> Self:
        """Return the stack with that adapter off if it is active, else on.

        An adapter at scale 0 is switched on at 1.0, the scale it was trained at: switching it on
        without any effect would look like a bug.
        """
        entry = self.find(name)
        if entry is not None and not entry.is_active and entry.scale == 0.0:
            return self.with_scale(name, 1.0)
        return self.with_enabled(name, entry is not None and not entry.is_active)

    def bypassed(self) -> Self:
        """Return the stack with every adapter switched off."""
        return type(self)(
            tuple(msgspec.structs.replace(entry, is_enabled=False) for entry in self.entries)
        )

    def _with(self, name: str, **changes: object) -> Self:
        if self.find(name) is None:
            raise AdapterError(f"There is no adapter called {name!r} in the stack.")
        return type(self)(
            tuple(
                msgspec.structs.replace(entry, **changes) if entry.adapter.name == name else entry
                for entry in self.entries
            )
        )


def label_of(scales: Iterable[tuple[str, float]]) -> str:
    """Return names and scales as shown to the user, `pirate 0.70 + formal 0.40`."""
    return " + ".join(f"{name} {scale:.2f}" for name, scale in scales)


def to_float32(value: float) -> float:
    """Round to the nearest float32, llama.cpp's precision for scales."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def stack_of(pairs: Iterable[tuple[Adapter, float]]) -> AdapterStack:
    """Return a stack of `(adapter, scale)` pairs, all switched on."""
    return AdapterStack(tuple(StackEntry(adapter, scale) for adapter, scale in pairs))


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter in a GGUF file, identified by its content."""

    name: str
    """Name shown in the rack; unique within a stack."""
    path: str
    """Absolute path of the GGUF file."""
    sha256: str
    """Hex digest of the file: two files with equal content are one adapter."""
    architecture: str
    """`general.architecture`, which must equal the base's."""
    alpha: float
    """`adapter.lora.alpha`; 0 means that llama.cpp does not divide by the rank."""
    rank_min: int
    """Smallest rank over the adapted tensors."""
    rank_max: int
    """Largest rank over the adapted tensors."""
    n_targets: int
    """Number of base tensors that have an A/B pair."""
    size_bytes: int
    """Size of the file in bytes."""
    memory_bytes: int
    """Bytes of tensor data that llama.cpp keeps for the loaded adapter."""
    description: str = ""
    """`general.description`, or ''."""
    invocation_tokens: tuple[int, ...] = ()
    """`adapter.alora.invocation_tokens`: the adapter acts from these tokens on, always if empty."""

    @property
    def file(self) -> Path:
        """The GGUF file."""
        return Path(self.path)

    @property
    def rank_text(self) -> str:
        """The rank for display: `8`, or `4-16` if it differs between tensors."""
        low, high = self.rank_min, self.rank_max
        return str(low) if low == high else f"{low}-{high}"
