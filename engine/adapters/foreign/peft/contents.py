"""Tell what weights are that hold no LoRA of a text model, by the names of their tensors.

Source: the prefixes of PEFT's methods (`peft.tuners`), kohya's sd-scripts and diffusers for image
models, NeMo's `ParallelLinearAdapter`, `litgpt.lora`, and what trainers save in place of an
adapter.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from engine.adapters.foreign.formats.weights_file import read_weights
from engine.adapters.foreign.module_names import is_embedding, unwrapped
from engine.adapters.foreign.peft.fields import MERGE
from engine.errors import AdapterError
from modelfiles.wording import shown

_IMAGE: Final = "this program runs text models only"
_METHODS: Final = {
    r"\.ia3_l\b": "IA3",
    r"^(default\.)?prompt_embeddings$|^prompt_encoder\.|\bprompt_embeddings\b": "PROMPT_TUNING",
    r"\.hada_[wt]\d": "LOHA",
    r"\.lokr_[wt]\d": "LOKR",
    r"\.oft_[rsR]\b|\.oft_(blocks|diag)": "OFT",
    r"\.boft_[rRs]": "BOFT",
    r"\bvera_(lambda|[AB])": "VERA",
    r"\.vblora_": "VBLORA",
    r"\.hra_u": "HRA",
    r"\.fourierft_": "FOURIERFT",
    r"\.adaption_(prompt|gate)\b": "ADAPTION_PROMPT",
    r"\.(bone|miss)_": "MISS",
    r"\.randlora_": "RANDLORA",
    r"\.shira_": "SHIRA",
    r"\.ln_tuning_layers\.": "LN_TUNING",
    r"trainable_tokens_(delta|indices)": "TRAINABLE_TOKENS",
}
"""The `peft_type` by a part of the name that only its tensors have."""
_OTHERS: Final = (
    (
        r"^(lora_(unet|te\d?|transformer|prior|clip)_|unet\.|text_encoder(_\d)?\.|diffusion_model\.|"
        r"(transformer\.)?(single_transformer|transformer|double|single|joint)_blocks\.)",
        "a LoRA of an image model",
        _IMAGE,
    ),
    (r"^(emb_params|string_to_param|clip_[lg]$)", "an embedding for an image model", _IMAGE),
    (r"(^|\.)(exp_avg(_sq)?|momentum_buffer)$", "the state of an optimizer", "name the weights"),
    (
        r"\.(adapter|lora_\w+_adapter)\.linear_(in|out)\b",
        "a LoRA in NeMo's own form",
        "export it with NeMo for Hugging Face's PEFT (hf-peft)",
    ),
    (
        r"^transformer\.h\.\d+\.(attn\.(attn|qkv|proj)|mlp\.(fc(_[12])?|proj))\.lora_[AB]$",
        "a LoRA in LitGPT's own form, with rows in an order of its own",
        "merge it with litgpt merge_lora, and take the difference out with tui extract",
    ),
    (r"\.lora_(up|down)\.weight$", "a LoRA in kohya's naming", "save it with PEFT"),
)
_FACTOR: Final = re.compile(r"\.(lora_\w+|A|B)(\.|$)|_[AB](\.weight)?$")


def other_lora(names: Collection[str]) -> tuple[str, str] | None:
    """Return what weights are that hold factors in another naming than a text model's, or None."""
    for pattern, what, advice in _OTHERS:
        is_such = re.compile(pattern).search
        if any(is_such(unwrapped(name)) for name in names):
            return what, advice
    return None


def what_they_are(names: Collection[str]) -> tuple[str, str] | None:
    """Return what weights with these tensors are, and a remedy; None if they may be a LoRA."""
    found = other_lora(names)
    if found is not None:
        return found
    names = [unwrapped(name) for name in names]
    for pattern, method in _METHODS.items():
        if any(map(re.compile(pattern).search, names)):
            # Imported here: it takes 20 ms (subprocess), which a LoRA does not need.
            from engine.adapters.foreign.peft.methods import remedy

            return f"an adapter of the kind {method}, not LORA", remedy(method)
    if not names or any(_FACTOR.search(name) for name in names):
        return None
    modules = {name.rpartition(".")[0] for name in names}
    if all(is_embedding(module) or module.endswith(("lm_head", "embed_out")) for module in modules):
        return "embeddings or an output alone, trained whole, not a LoRA", MERGE
    if any(name.endswith((".weight", ".bias")) for name in names):
        return (
            "whole weights without any LoRA factor, so a fine-tuned model",
            "make a GGUF of the whole model, and use it or what tui extract takes out of it",
        )
    return None


def require_factors(path: Path) -> None:
    """Raise `AdapterError` with what a file holds, if it is known and no LoRA of a text model."""
    found = what_they_are(read_weights(path).keys())
    if found is not None:
        what, advice = found
        raise AdapterError(f"holds {what}: {advice}.", path)


def factors_missing(names: Collection[str]) -> tuple[str, str]:
    """Return what an adapter's weights without LoRA factors hold, and a remedy."""
    found = what_they_are(names)
    if found is not None:
        return f"holds {found[0]}", found[1]
    first = f" but {shown(next(iter(names)))}" if names else ""
    return f"holds no LoRA factors{first}", "check that its weights are complete"
