"""Normalise module names of PEFT, MLX and trainers to those of the causal language model.

Wrappers add steps anywhere in a name: PEFT (`base_model.model.`), torch.compile (`_orig_mod.`),
FSDP (`_fsdp_wrapped_module.`, once `_fpw_module.`), checkpointing (`_checkpoint_wrapped_module.`),
data parallelism (`module.`), Lightning (`_forward_module.`). Vision and audio models nest their
text model under a prefix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from engine.errors import AdapterError
from modelfiles.wording import shown

MAX_NAME_CHARACTERS: Final = 256
_WRAPPERS: Final = frozenset(
    (
        *("_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module"),
        *("module", "_forward_module"),
    )
)
_PREFIX: Final = re.compile(r".*\bbase_model\.model\.|base_model\.")
_TEXT_MODEL: Final = r"^(model\.)?(language_model|text_model|llm)\."
"""Prefix of the text model in LLaVA, Gemma 3, Qwen-VL, Mistral 3, Idefics, SmolVLM, MiniCPM-V."""
_RENAMED: Final = (
    (re.compile(r"^thinker\."), ""),  # Qwen-Omni
    (re.compile(_TEXT_MODEL + r"(?=(model|transformer|lm_head)\b)"), ""),
    (re.compile(_TEXT_MODEL), "model."),
    (re.compile(r"^(model\.)+"), "model."),
    (re.compile(r"^model\.(?=lm_head$)"), ""),
    # Tinker, by its own table for export (`tinker_cookbook.weights`).
    (re.compile(r"^(model\.)?unembed_tokens$"), "lm_head"),
    (re.compile(r"^(model\.layers\.\d+\.)attn\.(?=[qkvo]_proj$)"), r"\1self_attn."),
    # gpt-oss in 4 bits (Unsloth's GptOssExpertsBnb4bit): a module list for each projection.
    (re.compile(r"\.experts\.(gate_up|down)_projs\.(\d+)$"), r".experts.\2.\1_proj"),
    (re.compile(r"\.mlp\.router\.linear$"), ".mlp.router"),
)
_OTHER_TOWERS: Final = re.compile(
    r"vision|visual|image|video|audio|speech|projector|resampler|aligner|vqmodel|^generation_|"
    r"^(connector|vpm|apm|mlp1|qformer|talker|token2wav|code2wav)$"
)
_EMBEDDINGS: Final = frozenset(
    ("embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embed_in", "embeddings")
)


class RowOrder(StrEnum):
    """Order in which a model keeps the rows of one head's queries or keys.

    It comes with the naming: each program that names modules in its own way also has a rotary
    embedding of its own.
    """

    HALVES = "halves"
    """Row i turns with row i + head_size / 2: transformers, and what is made for it."""
    NEIGHBOURS = "neighbours"
    """Row 2 i turns with row 2 i + 1, as in llama.cpp: Meta's checkpoints, mistral-finetune."""
    UNKNOWN = "unknown"


_ROW_ORDERS: Final = (
    # Meta's Llama, mistral-finetune, mlx-examples before 2024.
    (re.compile(r"attention\.w[qk]$"), RowOrder.NEIGHBOURS),
    # transformers: nearly all; Nemotron-H; InternLM 2; Ling.
    (re.compile(r"\b(self_attn|mixer)\."), RowOrder.HALVES),
    (re.compile(r"attention\.(wqkv|query_key_value)$"), RowOrder.HALVES),
    (re.compile(r"transformer\.blocks\.\d+\.[qk]_proj$"), RowOrder.HALVES),  # LLaDA
)
"""Row order of queries and keys by the module's path."""
_TORCHTUNE: Final = re.compile(
    r"(decoder\.)?layers\.\d+\.(attn\.(q|k|v|output)_proj|mlp\.w[123])(\.lora_[aAbB].*)?"
)
_PARTS: Final = re.compile(r"(?P<module>.+?)\.(?P<part>lora_\w+)(?:\.(?P<rest>.+))?")
_CLIPPED: Final = re.compile(
    r"(?P<module>.+\.\w+?)_(?P<part>(?:embedding_)?[AB]|E|magnitude_vector)(?P<leaf>\.weight|\.bias)?"
)
"""A factor of an adapter named `lora`: older versions of PEFT took `.lora` out of a name to save
it, so `v_proj.lora_A.lora.weight` became `v_proj_A.weight`."""


@dataclass(frozen=True, slots=True)
class LoraKey:
    """The parsed name of a PEFT tensor."""

    module: str
    """The module's path without PEFT's and torch's wrappers, but with `base_layer` steps."""
    part: str
    """`lora_A`, `lora_embedding_B`, `lora_magnitude_vector` and so on."""
    adapter: str
    """Name of the adapter inside the model, mostly '' or `default`."""
    is_bias: bool


def lora_key(name: str) -> LoraKey | None:
    """Return the parts of a tensor's name, or None if it is not a LoRA tensor."""
    name = unwrapped(name)
    match = _PARTS.fullmatch(name)
    if match is None:
        clipped = _CLIPPED.fullmatch(name)
        if clipped is None:
            return None
        part, leaf = f"lora_{clipped['part']}", clipped["leaf"]
        return LoraKey(clipped["module"], part, "", leaf == ".bias")
    rest = (match["rest"] or "").split(".")
    leaf = rest.pop() if rest[-1] in ("weight", "bias") else ""
    return LoraKey(match["module"], match["part"], ".".join(rest), leaf == "bias")


def unwrapped(name: str) -> str:
    """Return a name without the prefixes of PEFT, torch.compile, FSDP and data parallelism."""
    steps = name.split(".")
    if not _WRAPPERS.isdisjoint(steps):
        name = ".".join(step for step in steps if step not in _WRAPPERS)
    return _PREFIX.sub("", name, count=1)


def causal_path(path: str) -> str:
    """Return the path of a text model's module in the causal LM of that architecture."""
    for pattern, replacement in _RENAMED:
        path = pattern.sub(replacement, path)
    return path


def is_of_other_tower(path: str) -> bool:
    """Return whether a module belongs to a vision or audio tower or to its projector.

    Only the path before the first layer number counts: a text layer may have an image expert.
    """
    for step in path.split("."):
        if step.isdigit():
            return False
        if _OTHER_TOWERS.search(step):
            return True
    return False


def row_order(path: str) -> RowOrder:
    """Return the order of the rows of queries or keys in models that name them so.

    The converter to GGUF re-orders the rows of transformers' checkpoints for several architectures
    and leaves Meta's as they are (`LlamaModel.modify_tensors`, `undo_permute`).
    """
    return next((o for pattern, o in _ROW_ORDERS if pattern.search(path)), RowOrder.UNKNOWN)


def is_of_torchtune(name: str) -> bool:
    """Return whether a module or tensor is named as in torchtune's own checkpoints.

    Source: `torchtune.models.convert_weights`. Their queries and keys have Meta's row order for
    Llama, Mistral and Gemma, that of transformers for Qwen and Phi; and their `mlp.w1` and
    `mlp.w2` are other matrices than Qwen's of these names.
    """
    return _TORCHTUNE.fullmatch(name) is not None


def is_embedding(path: str) -> bool:
    """Return whether a module's name is that of a token embedding."""
    return path.rpartition(".")[2] in _EMBEDDINGS


def require_name(file: Path, name: str) -> None:
    """Raise `AdapterError` if a tensor's name is empty, too long or not printable."""
    if not name or not name.isprintable() or len(name) > MAX_NAME_CHARACTERS:
        raise AdapterError(
            f"has a tensor with the impossible name {shown(name)}: download or save it again.", file
        )
