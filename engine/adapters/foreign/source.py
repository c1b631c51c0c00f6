"""What a reader yields of an adapter of another program: its modules, not yet their weights.

Whatever the format, a module's delta is `scale * b @ a` as PEFT means it (arXiv:2106.09685,
`peft.tuners.lora`), with names and orientations of PEFT.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from engine.adapters.foreign.formats.tensor import StoredTensor


class ModuleKind(StrEnum):
    """How a module's factors are shaped."""

    LINEAR = "linear"
    """a (rank, n_in), b (n_out, rank)."""
    EMBEDDING = "embedding"
    """a (rank, n_vocab), b (n_embd, rank): the delta of the table (n_vocab, n_embd) is (b a)^T."""
    EXPERTS = "experts"
    """a (n_experts, rank, n_in), b (n_experts, n_out, rank): one delta for each expert."""


@dataclass(frozen=True, slots=True)
class LoraModule:
    """The pair of one module of the model the adapter was trained on."""

    path: str
    """Where the module is in a causal language model of transformers, without any wrapper's
    prefix: `model.layers.0.self_attn.q_proj`, `transformer.h.0.attn.c_attn`, `lm_head`. Of EXPERTS
    the module that holds the parameters: `model.layers.0.mlp.experts`, with the parameter's name
    behind it where that is known for sure: `model.layers.0.mlp.experts.down_proj`. MLX has gate and
    up of experts apart: `model.layers.0.mlp.experts.gate_proj`."""
    kind: ModuleKind
    a: StoredTensor
    b: StoredTensor
    scale: float
    """What `b @ a` is multiplied by, exact: `lora_alpha / rank`, `lora_alpha / sqrt(rank)`, or what
    another program calls scale."""
    parameters: tuple[str, ...] = ()
    """Of EXPERTS whose parameter is not known for sure: the candidates of the configuration, to
    be told apart by their shapes, for example `gate_up_proj` and `down_proj`. PEFT before 0.19 took
    the two dimensions of a parameter (n_experts, n_out, n_in) for inputs and outputs; a pair that
    fits only the other way round is such a one, and its delta is (b a)^T."""

    @property
    def rank(self) -> int:
        """The rank by `b`, as llama.cpp takes it."""
        return self.b.shape[-1]


@dataclass(frozen=True, slots=True)
class LoraSource:
    """An adapter of another program, found and understood."""

    path: Path
    """The folder or file that was named."""
    files: tuple[Path, ...]
    """Configuration and weights. A README is not among them: it can give no more than a title and
    the base's name."""
    kind: Literal["peft", "mlx"]
    modules: tuple[LoraModule, ...]
    sha256: str
    """Hex digest over the contents of `files`: equal content converts to an equal file."""
    title: str = ""
    """A name for people: the folder's, or that of the repository it was published in."""
    base_name: str = ""
    """`base_model_name_or_path` of the configuration, else `base_model` of the README, or ''."""
    invocation_tokens: tuple[int, ...] = ()
    """`alora_invocation_tokens` of the configuration (activated LoRA)."""
    dropped: tuple[str, ...] = ()
    """Modules left out because they belong to a vision or audio tower, sorted."""
    notices: tuple[str, ...] = ()
    """Sentences on what a person should know, for example a base in NF4."""
