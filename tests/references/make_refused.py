"""Writes PEFT folders that cannot become a GGUF adapter as they are, as PEFT saves them.

All are of the stored llama of tests/references/architectures, and small: one kind of module. Run
from the root of the project with the extra `peft` installed:

    python -m tests.references.make_refused [FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import peft
import torch

from tests.references.adapted_models import fill, random_model
from tests.references.architecture_table import BY_NAME
from tests.support.seeded_values import random_of

DATA = Path(__file__).parent / "refused"
MODULES = ["q_proj"]


def configurations() -> dict[str, Any]:
    """Return PEFT's configurations by the name of their folder."""
    lora, only = {"r": 2, "lora_alpha": 4}, {"target_modules": MODULES}
    return {
        "pissa": peft.LoraConfig(**lora, **only, init_lora_weights="pissa"),
        "olora": peft.LoraConfig(**lora, **only, init_lora_weights="olora"),
        "dora": peft.LoraConfig(**lora, **only, use_dora=True),
        "bias": peft.LoraConfig(**lora, **only, lora_bias=True),
        "modules-to-save": peft.LoraConfig(**lora, **only, modules_to_save=["lm_head"]),
        "trainable-tokens": peft.LoraConfig(
            **lora, **only, trainable_token_indices={"embed_tokens": [1, 5]}
        ),
        "layer-replication": peft.LoraConfig(**lora, **only, layer_replication=[[0, 2], [0, 2]]),
        "loha": peft.LoHaConfig(r=2, alpha=4, **only),
        "lokr": peft.LoKrConfig(r=2, alpha=4, **only),
        "ia3": peft.IA3Config(**only, feedforward_modules=[]),
        "oft": peft.OFTConfig(**only, oft_block_size=4),
        "vera": peft.VeraConfig(r=2, **only),
    }


def make(folder: Path) -> None:
    """Write every folder."""
    for name, config in configurations().items():
        print(name, flush=True)
        torch.manual_seed(0)
        adapted = peft.get_peft_model(random_model(BY_NAME["llama"]).float(), config)
        for key, parameter in adapted.named_parameters():
            if parameter.requires_grad and ".lora_" in key:
                fill(parameter, 0.2 * random_of(key, tuple(parameter.shape)))
        config.base_model_name_or_path = "tiny/random"
        adapted.save_pretrained(folder / name, save_embedding_layers=False)
        (folder / name / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write adapters that are to be refused.")
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    make(parser.parse_args().folder)
