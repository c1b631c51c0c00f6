"""Read the params.json of mistral-finetune, which holds the rank and the scale of its LoRA.

Source: `finetune/checkpointing.py` and `finetune/lora.py` (LoRALinear) of mistral-finetune: the
factors are in `lora.safetensors` under Meta's names (`layers.0.attention.wq.lora_A.weight`), and
the delta is `scaling * b @ a`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine.adapters.foreign.peft.config import (
    MAX_NUMBER,
    MAX_RANK,
    PeftConfig,
    peft_config,
    read_config,
)
from engine.adapters.foreign.peft.patterns import Patterns
from engine.errors import AdapterError

PARAMS: Final = "params.json"


def has_lora(path: Path) -> bool:
    """Return whether a params.json describes a LoRA; Meta's own describes a model only."""
    return isinstance(read_config(path).get("lora"), dict)


def mistral_config(path: Path, fields: Mapping[str, object]) -> PeftConfig:
    """Return rank and scale of a params.json; raise `AdapterError` if they are missing."""
    lora = fields.get("lora")
    rank, scaling = (lora.get("rank"), lora.get("scaling")) if isinstance(lora, dict) else (0, 0)
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise AdapterError("gives lora.rank no rank: take the file of the training.", path)
    if isinstance(scaling, bool) or not isinstance(scaling, (int, float)):
        raise AdapterError("gives lora.scaling no number: take the file of the training.", path)
    if not 0 < abs(scaling) <= MAX_NUMBER:
        raise AdapterError(f"has a lora.scaling of {scaling}: take the file of the training.", path)
    return PeftConfig(
        path=path,
        peft_type="LORA",
        rank=rank,
        alpha=float(scaling) * rank,
        is_rslora=False,
        rank_patterns=Patterns({}),
        alpha_patterns=Patterns({}),
        target_parameters=(),
        modules_to_save=(),
        base_name="",
        invocation_tokens=(),
    )


def require_same_scale(params: PeftConfig, config: Path) -> None:
    """Raise `AdapterError` if an adapter_config.json beside params.json gives another scale."""
    if not config.is_file():
        return
    ours, theirs = params.scale_of(()), peft_config(config, read_config(config)).scale_of(())
    if ours.rank != theirs.rank or not math.isclose(ours.scale, theirs.scale, rel_tol=1e-6):
        raise AdapterError(
            f"gives rank {theirs.rank} and scale {theirs.scale:g}, but {params.path.name} beside "
            f"it rank {ours.rank} and scale {ours.scale:g}: remove the wrong one.",
            config,
        )
