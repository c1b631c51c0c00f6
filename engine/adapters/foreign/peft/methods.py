"""Which PEFT methods can be converted, and what to do about the others."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import engine
from engine.adapters.foreign.peft.fields import MERGE

CONVERTIBLE: Final = frozenset(
    (
        *("C3A", "DELORA", "FOURIERFT", "GRALORA", "LOHA", "LOKR", "MISS", "PSOFT", "RANDLORA"),
        *("TINYLORA", "UNILORA", "VBLORA", "VERA", "WAVEFT"),
    )
)
"""The `peft_type`s that `convert_to_lora` accepts (`supports_lora_conversion` of PEFT 0.21)."""


_PACKAGES: Final = ("torch", "peft", "transformers", "safetensors")


# Why a method is not a delta that is added to the weights: first methods whose effect PEFT can
# merge into a model, then methods that do not change weights.
_OF_WEIGHTS: Final = {
    "BOFT": "it rotates the base's weights",
    "HIRA": "it multiplies the base's weights",
    "HRA": "it reflects the base's weights",
    "IA3": "it scales the base's activations",
    "LN_TUNING": "it changes norms",
    "OFT": "it rotates the base's weights",
    "OSF": "it changes the base's weights as a whole",
    "ROAD": "it rotates the base's activations",
    "SHIRA": "it changes single weights all over a matrix",
    "TRAINABLE_TOKENS": "it changes rows of the embeddings",
}


_OF_PROMPTS: Final = {
    "ADAPTION_PROMPT": "it adds virtual tokens to attention",
    "CARTRIDGE": "it is a key-value cache",
    "CPT": "it adds virtual tokens to the prompt",
    "MULTITASK_PROMPT_TUNING": "it adds virtual tokens to the prompt",
    "PREFIX_TUNING": "it adds virtual tokens to attention",
    "PROMPT_TUNING": "it adds virtual tokens to the prompt",
    "P_TUNING": "it adds virtual tokens to the prompt",
    "XLORA": "it chooses between several adapters while it runs",
}


def remedy(peft_type: str) -> str:
    """Return advice, worded as a clause, on an adapter of another method than LoRA."""
    method = peft_type.upper()
    if method in CONVERTIBLE:
        first = "" if not missing_packages() else f"{install_command()}, then "
        return (
            f"{first}convert it with 'tui convert' and --weights FOLDER, the base's folder for "
            "transformers"
        )
    if method in _OF_WEIGHTS:
        return f"{_OF_WEIGHTS[method]}, which no LoRA does: {MERGE}"
    if method in _OF_PROMPTS:
        return f"{_OF_PROMPTS[method]}, which no LoRA does: train a LoRA instead"
    return "PEFT cannot turn it into a LoRA either: train a LoRA instead"


def missing_packages() -> tuple[str, ...]:
    """Return the packages of the extra `[peft]` that are not installed, without importing any."""
    return tuple(name for name in _PACKAGES if find_spec(name) is None)


def install_command(folder: Path = Path(engine.__file__).parent.parent) -> str:
    """Return what to type to have the extra `[peft]` in the environment that runs this program.

    `folder` is where the program lies. In a checkout pip is given the checkout: no index may know
    the package. Elsewhere the package is installed, and pip adds the extra to it.
    """
    python = shlex.quote(sys.executable or "python")
    if (folder / "pyproject.toml").is_file():
        return f"{python} -m pip install -e {shlex.quote(f'{folder}[peft]')}"
    return f"{python} -m pip install 'lora-tui[peft]'"
