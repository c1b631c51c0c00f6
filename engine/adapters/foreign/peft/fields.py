"""List the fields of PEFT's configuration: those read, those ignored and those refused.

Source: `peft.LoraConfig` and `peft.AdaLoraConfig`. A set field that is not listed is refused: PEFT
keeps adding variants under new fields, and ignoring one would silently convert the adapter to
another function than was trained.
"""

from __future__ import annotations

from typing import Final

MERGE: Final = (
    "merge it into its base with PEFT, make a GGUF of that, and use it or what tui extract takes "
    "out of it"
)
"""Remedy for any adapter that is more than pairs of factors."""

READ_FIELDS: Final = frozenset(
    (
        *("peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora"),
        *("base_model_name_or_path", "alora_invocation_tokens", "target_parameters"),
        *("modules_to_save", "init_lora_weights", "peft_version"),
    )
)
"""Fields that determine what the adapter computes, or its displayed metadata."""

IDLE_FIELDS: Final = frozenset(
    (
        # Selection of the adapted modules: the file has exactly their tensors.
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
        # Only for training, or for the program that loads the adapter.
        *("task_type", "auto_mapping", "revision", "inference_mode", "lora_dropout"),
        *("megatron_config", "megatron_core", "runtime_config", "parent_library"),
        # Effective only together with another field, which is checked on its own.
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size"),
        # Orientation of the base weights; the factors have the same layout either way.
        "fan_in_fan_out",
        # Compresses activations for the backward pass; the forward pass is plain.
        "velora_config",
        # Selection of trained biases: the file holds them, and they are refused there.
        "bias",
        # Additional fields of Unsloth, ms-swift and early versions of PEFT.
        *("unsloth_fixed", "lora_dtype", "lorap_lr_ratio", "lorap_emb_lr", "model_key_mapping"),
        *("merge_weights", "enable_lora"),
    )
)
"""Fields that do not change what a trained adapter computes."""

ADALORA_IDLE_FIELDS: Final = frozenset(
    (
        *("target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight"),
        *("total_step", "init_r"),
    )
)
"""Fields of AdaLoRA's training schedule."""

REFUSED_FIELDS: Final = {
    "use_dora": (
        "uses DoRA, which normalises the base's own weights",
        f"train it with use_dora=False, or {MERGE}",
    ),
    "lora_bias": (
        "has a bias on B, which llama.cpp cannot add",
        f"train it with lora_bias=False, or {MERGE}",
    ),
    "layer_replication": (
        "was trained on a base with repeated layers, which the base model's file has not",
        MERGE,
    ),
    "trainable_token_indices": ("replaces rows of the token embedding", MERGE),
    "use_qalora": ("uses QALoRA, whose A has pooled inputs", MERGE),
    "use_bdlora": ("uses BD-LoRA, whose factors are stored in blocks", MERGE),
    "kasa_config": ("uses KaSA, which cuts singular values from the base's own weights", MERGE),
    "arrow_config": (
        "routes between several adapters (Arrow)",
        "convert the adapters it routes between, and stack them",
    ),
    "monteclora_config": ("uses MonteCLoRA, which samples its factors", MERGE),
    "ensure_weight_tying": (
        "ties its embedding's factors to the head's, which GGUF adapters cannot",
        MERGE,
    ),
}
"""For each field: what the adapter does, and the remedy."""

HARMLESS_INITS: Final = ("gaussian", "orthogonal", "eva", "mica")
"""Values of `init_lora_weights` that initialise only A and B."""

MUTATING_INITS: Final = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Prefixes of values that also change the base's weights, which the factors then require."""
