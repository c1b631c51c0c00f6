"""Define the modules of a PEFT or MLX adapter as the readers return them, with weights unread.

In every format a module's delta is `scale * b @ a` as in PEFT (arXiv:2106.09685,
`peft.tuners.lora`), with PEFT's names and orientations.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.adapters.foreign.module_names import RowOrder


class ModuleKind(StrEnum):
    """Kind of a module, which determines the shapes of its factors."""

    LINEAR = "linear"
    """a (rank, n_in), b (n_out, rank)."""
    EMBEDDING = "embedding"
    """a (rank, n_vocab), b (n_embd, rank): the delta of the table (n_vocab, n_embd) is (b a)^T."""
    EXPERTS = "experts"
    """a (n_experts, rank, n_in), b (n_experts, n_out, rank): one delta for each expert."""


@dataclass(frozen=True, slots=True)
class LoraModule:
    """The pair of one module of the model that the adapter was trained on."""

    path: str
    """Path in a causal language model of transformers, without wrapper prefixes:
    `model.layers.0.self_attn.q_proj`, `transformer.h.0.attn.c_attn`, `lm_head`. For EXPERTS, the
    module that holds the parameters, `model.layers.0.mlp.experts`, followed by the parameter's
    name if it is certain: `model.layers.0.mlp.experts.down_proj`. MLX stores gate and up of experts
    separately: `model.layers.0.mlp.experts.gate_proj`."""
    kind: ModuleKind
    a: StoredTensor
    b: StoredTensor
    scale: float
    """Exact factor of `b @ a`: `lora_alpha / rank`, `lora_alpha / sqrt(rank)`, or MLX's scale."""
    parameters: tuple[str, ...] = ()
    """For EXPERTS whose parameter is not certain: the configuration's candidates, such as
    `gate_up_proj` and `down_proj`, distinguished later by their shapes. PEFT before 0.19 took the
    last two dimensions of a parameter (n_experts, n_out, n_in) for inputs and outputs; a pair that
    fits only when swapped comes from there, and its delta is (b a)^T."""
    row_order: RowOrder = RowOrder.HALVES
    """Order of the rows of b if the module is queries or keys; of no meaning otherwise."""

    @property
    def rank(self) -> int:
        """The rank according to `b`, which llama.cpp uses."""
        return self.b.shape[-1]


@dataclass(frozen=True, slots=True)
class LoraSource:
    """A PEFT or MLX adapter as read from its files."""

    path: Path
    """The folder or file that the caller named."""
    files: tuple[Path, ...]
    """Configuration and weights, without the README, which can only add a title and the base's
    name."""
    kind: Literal["peft", "mlx"]
    modules: tuple[LoraModule, ...]
    sha256: str
    """Hex SHA-256 over the contents of `files`: equal content converts to an equal file."""
    title: str = ""
    """Display name: the README's `model_name`, the folder's or the source repository's name."""
    base_name: str = ""
    """`base_model_name_or_path` of the configuration, else `base_model` of the README, or ''."""
    invocation_tokens: tuple[int, ...] = ()
    """`alora_invocation_tokens` of the configuration (activated LoRA)."""
    dropped: tuple[str, ...] = ()
    """Sorted paths of modules left out because they belong to a vision or audio tower."""
    notices: tuple[str, ...] = ()
    """Notices for the user, such as a base in NF4, one sentence each."""
