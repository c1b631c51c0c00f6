"""Define the conversion rules of each architecture, and which architectures are refused.

Adapters convert only for the architectures in this table. Their modules have the names in
`tensor_names` and their weights are only renamed, except as their entry says. Source:
`modify_tensors` of the classes in llama.cpp's `conversion/`, as of 0c1e57098, and the GGUF names
of gguf-py's `MODEL_ARCH_NAMES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Rows(StrEnum):
    """Order of the rows of a module's weight, apart from the rotary order of q and k."""

    KEEP = "as in the module"
    HEADS = "q, k and v of one head after the other"
    GROUPS = "the queries of one key head, its key, its value, then the next"
    LINEAR_HEADS = "q, k, v and z of one key head after the other"
    SCALAR_HEADS = "the b and then the a of one key head after the other"
    VALUE_HEADS = "value heads grouped by key head"
    QKV_VALUE_HEADS = "q, k, then value heads grouped by key head"
    VALUE_SCALARS = "one row per value head, grouped by key head"
    ALTERNATING = "gate and up in turn"
    LATENT = "per head the rows for keys, then those for values"


class Columns(StrEnum):
    """Order of the columns of a module's weight."""

    KEEP = "as in the module"
    VALUE_HEADS = "value heads grouped by key head"


@dataclass(frozen=True, slots=True)
class Share:
    """A module's share of a tensor that holds the rows of two modules head by head."""

    n_last: str
    """Header key, after the architecture prefix, for the number of rows of the second share."""
    is_last: bool
    """Whether the module has the second share."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The GGUF tensors that a module's rows map to."""

    targets: tuple[str, ...]
    """Tensor names without `blk.N.` and `.weight`, in the order of their rows."""
    rows: Rows = Rows.KEEP
    columns: Columns = Columns.KEEP
    share: Share | None = None
    """The module's share of the one target, whose order is `rows`; None for all of it."""


Rules = Mapping[str, tuple[Rule, ...]]
"""Rules by the part of the module's path after the layer number. The first rule whose tensors are
all in the base applies."""

QKV: Final = ("attn_q", "attn_k", "attn_v")

EVERYWHERE: Final[Rules] = {
    "mlp.gate_up_proj": (Rule(("ffn_gate", "ffn_up")), Rule(("ffn_up",))),
    "mlp.up_gate_proj": (Rule(("ffn_gate", "ffn_up")),),  # ernie4_5; gate comes first all the same
    "shared_mlp.input_linear": (
        Rule(("ffn_gate_shexp", "ffn_up_shexp")),
        Rule(("ffn_gate", "ffn_up")),
    ),
    "shared_mlp.output_linear": (Rule(("ffn_down_shexp",)), Rule(("ffn_down",))),
    **{
        f"{place}.gate_up_proj": (Rule(("ffn_gate_shexp", "ffn_up_shexp")),)
        for place in ("mlp.shared_expert", "mlp.shared_experts", "mlp.shared_mlp")
    },
    "ffn.proj_1": (Rule(("ffn_gate", "ffn_up")),),  # openelm
    "self_attn.g_proj": (Rule(("attn_gate",)), Rule(("ssm_g",))),
    "self_attn.kv_b_proj": (Rule(("attn_kv_b",)), Rule(("attn_k_b", "attn_v_b"), Rows.LATENT)),
    "attention.kv_b_proj": (Rule(("attn_kv_b",)), Rule(("attn_k_b", "attn_v_b"), Rows.LATENT)),
    "mixer.out_proj": (Rule(("ssm_out",)), Rule(("attn_output",))),
}
"""Modules that map to several tensors, or to alternative ones, in any architecture."""

_HEADS: Final[Rules] = {
    "attention.query_key_value": (Rule(("attn_qkv",), Rows.HEADS),),
    "self_attention.query_key_value": (Rule(("attn_qkv",), Rows.HEADS),),
}
_VALUE_HEADS: Final[Rules] = {
    "linear_attn.in_proj_qkv": (Rule(("attn_qkv",), Rows.QKV_VALUE_HEADS),),
    "linear_attn.in_proj_z": (Rule(("attn_gate",), Rows.VALUE_HEADS),),
    "linear_attn.in_proj_a": (Rule(("ssm_alpha",), Rows.VALUE_SCALARS),),
    "linear_attn.in_proj_b": (Rule(("ssm_beta",), Rows.VALUE_SCALARS),),
    "linear_attn.out_proj": (Rule(("ssm_out",), columns=Columns.VALUE_HEADS),),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """The conversion rules of one `general.architecture`."""

    naming: str = ""
    """Key of `namings.NAMINGS` with the names in transformers, to convert an adapter back; '' if
    the names are not certain."""
    is_rotary: bool = False
    """Whether the rows of attn_q and attn_k are in llama.cpp's rotary order."""
    rules: Rules = field(default_factory=dict)
    """Rules that replace the usual names."""
    experts: Rows = Rows.KEEP
    """Row order of gate and up in a module that fuses both, for one expert or for all."""
    has_linear_attention: bool = False
    """Whether attn_qkv is one linear-attention matrix in layers that have ssm_out."""
    multipliers: str = ""
    """Name of the set of factors in `multipliers` that only the configuration holds, or ''."""
    refused_key: str = ""
    """Header key, after the architecture prefix, whose presence makes the base unsupported."""
    refused: str = ""
    """Why its adapters are refused; with `refused_key`, only if the base has that key."""


_UNNAMED: Final = """
    bailingmoe2 bailingmoe3 codeshell cogvlm deepseek2-ocr dots3note dream eurobert
    gemma-embedding gemma4-assistant glm5-next grok grovemoe hunyuan-moe hunyuan_vl hy_v4
    kimi-k3 kimi-linear llada-moe llama4 maincoder maple minimax-01 minimax-m3 mistral4
    openelm orion paddleocr pangu-embedded plamo2 plamo3 plm qwen rnd1 smallthinker spark2_5
    step35
    """
_NAMED: Final = {
    "llama": """
        apertus cohere2 command-r ernie4_5 exaone4 gemma gemma2 gemma3 hunyuan-dense
        jais2 mellum minimax-m2 nemotron olmo2 olmoe qwen2 qwen2moe qwen3 qwen3moe seed_oss stablelm
        """,
    "deepseek": """
        cohere2moe deepseek2 deepseek32 dots1 ernie4_5-moe exaone-moe glm-dsa glm4moe hy_v3 minicpm3
        """,
    "vision-language": "qwen2vl qwen3vl qwen3vlmoe",
    "afmoe": "afmoe",
    "exaone": "exaone",
    "gemma3n": "gemma3n",
    "gemma4": "gemma4",
    "gpt2": "gpt2 starcoder",
    "jamba": "jamba",
    "laguna": "laguna",
    "lfm2": "lfm2 lfm2moe",
    "mamba": "mamba mamba2",
    "mpt": "mpt",
    "phi2": "phi2",
    "phi3": "phi3",
    "phimoe": "phimoe",
    "starcoder2": "starcoder2",
}
_ROTARY: Final = {
    "": "arctic deci deepseek llada",
    "granitehybrid": "granitehybrid",
    "granitemoe": "granite_swa granitemoe",
    "llama": """
        arcee chameleon granite llama llama-embed minicpm mistral3 nanbeige olmo smollm3 xverse
        """,
    "nemotron_h": "nemotron_h nemotron_h_moe",
}

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    # Renamed only.
    **{name: Architecture() for name in _UNNAMED.split()},
    **{name: Architecture(naming) for naming, names in _NAMED.items() for name in names.split()},
    # Renamed, and queries and keys in llama.cpp's rotary order.
    **{
        name: Architecture(naming, is_rotary=True)
        for naming, names in _ROTARY.items()
        for name in names.split()
    },
    # Renamed only, with one exception each.
    "glm4": Architecture(
        "glm",
        refused_key="rope.dimension_sections",
        refused="its queries and keys are re-ordered for M-RoPE in a way that was never verified",
    ),
    "gpt-oss": Architecture("gpt-oss", experts=Rows.ALTERNATING),
    "mimo2": Architecture(
        "llama",
        # Rows are grouped by training device: no rule, so that the order is said to be unknown.
        rules={"self_attn.qkv_proj": ()},
    ),
    # Queries, keys and values in one module, in an architecture-specific order.
    "baichuan": Architecture(is_rotary=True, rules={"self_attn.W_pack": (Rule(QKV),)}),
    "bailingmoe": Architecture(is_rotary=True, rules={"attention.query_key_value": (Rule(QKV),)}),
    "bloom": Architecture("bloom", rules=_HEADS),
    "falcon": Architecture(
        "falcon",
        rules={"self_attention.query_key_value": (Rule(("attn_qkv",), Rows.GROUPS),)},
    ),
    "chatglm": Architecture(
        "glm",
        rules={
            "mlp.dense_h_to_4h": (Rule(("ffn_gate", "ffn_up")), Rule(("ffn_up",))),
        },
    ),
    "gptneox": Architecture("gptneox", rules=_HEADS),
    "internlm2": Architecture(
        "internlm2", is_rotary=True, rules={"attention.wqkv": (Rule(QKV, Rows.GROUPS),)}
    ),
    "refact": Architecture(rules={"attn.kv": (Rule(("attn_k", "attn_v")),)}),
    # Linear attention.
    "qwen35": Architecture("qwen35", rules=_VALUE_HEADS, has_linear_attention=True),
    "qwen35moe": Architecture("qwen35", rules=_VALUE_HEADS, has_linear_attention=True),
    "qwen4exp": Architecture(rules=_VALUE_HEADS, has_linear_attention=True),
    "qwen3next": Architecture(
        "qwen3next",
        has_linear_attention=True,
        rules={
            "linear_attn.in_proj_qkvz": (
                Rule(("attn_qkv", "attn_gate"), Rows.LINEAR_HEADS),
                Rule(("ssm_in",)),
            ),
            # Parts named as in Qwen3.5, where the base keeps the rows of the fused modules.
            **{
                f"linear_attn.in_proj_{part}": (
                    Rule((apart,)),
                    Rule((fused,), rows, share=Share(key, part in "za")),
                )
                for part, apart, fused, rows, key in (
                    ("qkv", "attn_qkv", "ssm_in", Rows.LINEAR_HEADS, "ssm.inner_size"),
                    ("z", "attn_gate", "ssm_in", Rows.LINEAR_HEADS, "ssm.inner_size"),
                    ("b", "ssm_beta", "ssm_ba", Rows.SCALAR_HEADS, "ssm.time_step_rank"),
                    ("a", "ssm_alpha", "ssm_ba", Rows.SCALAR_HEADS, "ssm.time_step_rank"),
                )
            },
        },
    ),
    # Weights multiplied by numbers that only the base's configuration holds.
    "falcon-h1": Architecture(multipliers="falcon-h1"),
    "jais": Architecture(multipliers="jais"),
    # Refused: the conversion of their weights is unknown here or cannot be undone.
    "bitnet": Architecture(
        refused="its weights are ternary: a base does not hold what the adapter was trained on"
    ),
    "dbrx": Architecture(refused="its experts are stored in a form that no rule covers"),
    "deepseek4": Architecture(refused="its attention has matrices that no rule covers"),
    **dict.fromkeys(
        ("dflash", "eagle3"),
        Architecture(refused="it is a draft model, which writes no text of its own"),
    ),
    "graniteswitch": Architecture(refused="it carries adapters of its own in the same tensors"),
    "hrm_text": Architecture(refused="its layers stand in two stacks that no rule covers"),
    "muse-glimmer": Architecture(
        refused="its queries and keys are re-ordered in a way that was never verified"
    ),
    "plamo": Architecture(refused="its heads are re-ordered by a rule made for one size"),
    **dict.fromkeys(
        ("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"),
        Architecture(refused="its layers mix time without matrices that a LoRA pair fits"),
    ),
    "t5": Architecture(refused="it is an encoder with a decoder, not a causal language model"),
    "t5encoder": Architecture(refused="it is an encoder, not a causal language model"),
    "talkie": Architecture(refused="half the rows of its queries and keys change their sign"),
    **dict.fromkeys(
        ("pockettts", "qwen3tts", "wavtokenizer-dec"), Architecture(refused="it is a speech model")
    ),
}
