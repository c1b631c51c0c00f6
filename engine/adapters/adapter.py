"""What is known of an adapter file from its header: the record that stacks are made of."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter in a GGUF file, identified by its content."""

    name: str
    """What the rack shows; unique within a stack."""
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
    """Base tensors that have an A/B pair."""
    size_bytes: int
    """Size of the file."""
    memory_bytes: int
    """Bytes of tensor data that llama.cpp holds once the adapter is loaded."""
    description: str = ""
    """`general.description`, if any."""
    invocation_tokens: tuple[int, ...] = ()
    """`adapter.alora.invocation_tokens`: the adapter acts from these tokens on; none: always."""

    @property
    def file(self) -> Path:
        """The GGUF file."""
        return Path(self.path)

    @property
    def rank_text(self) -> str:
        """The rank as shown, `8` or `4-16` where it differs between tensors."""
        low, high = self.rank_min, self.rank_max
        return str(low) if low == high else f"{low}-{high}"
