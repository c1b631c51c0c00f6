"""Refuse fully trained weights beside the factors of a PEFT adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.adapters.foreign.formats.tensor import FileTensor
from engine.adapters.foreign.module_names import is_of_other_tower
from engine.adapters.foreign.peft.config import PeftConfig
from engine.adapters.foreign.peft.fields import MERGE
from modelfiles.wording import shown

LINEAR: Final = frozenset(("lora_A", "lora_B"))
EMBEDDING: Final = frozenset(("lora_embedding_A", "lora_embedding_B"))

Parts = Mapping[str, Mapping[str, FileTensor]]
"""Factors by module and part."""


def require_nothing_whole(
    config: PeftConfig, others: Mapping[str, FileTensor], parts: Parts
) -> None:
    """Raise `AdapterError` for weights beside the factors, except copies of the base's.

    Skips weights of a vision or audio tower, which is not converted.
    """
    for name, tensor in others.items():
        if is_of_other_tower(name):
            continue
        if ".base_layer." in name and name.endswith(".weight"):
            _require_plain_copy(config, name, tensor, parts)
        elif "trainable_tokens_" in name:
            config.refuse(
                "replaces rows of the token embedding (trainable_token_indices)",
                MERGE,
            )
        elif name.endswith(".bias") or name == "bias":
            config.refuse(
                f"trained biases too ({shown(name)}), and a GGUF adapter holds none",
                f"train it with bias='none', or {MERGE}",
            )
        else:
            config.refuse(
                f"holds the whole weights of {shown(name)} beside its factors",
                "where they were not trained, save it again with save_embedding_layers=False, "
                f"otherwise {MERGE}",
            )


def _require_plain_copy(config: PeftConfig, name: str, tensor: FileTensor, parts: Parts) -> None:
    """Accept a copy of an adapted embedding or head, which PEFT saves after a vocabulary resize."""
    module = name.partition(".base_layer.")[0]
    found = parts.get(module, {})
    shape: tuple[int, ...] = ()
    if found.keys() >= EMBEDDING:
        a, b = found["lora_embedding_A"].shape, found["lora_embedding_B"].shape
        shape = (a[-1], b[0]) if a and b else ()
    elif found.keys() >= LINEAR:
        a, b = found["lora_A"].shape, found["lora_B"].shape
        shape = (b[0], a[-1]) if a and b else ()
    if tensor.shape != shape:
        config.refuse(
            f"holds weights of the base ({shown(name)}) of another size than its factors",
            "save it again with save_embedding_layers=False",
        )
