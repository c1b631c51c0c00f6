"""Computes what a base with a stack of LoRA adapters must answer, with transformers and PEFT.

A random Llama and two PEFT adapters of different rank, alpha and targets are evaluated in float64
under stacks of both; their float32 weights are written as GGUF by the rules of the format alone,
without the project's own code. Run from the root of the project with the extra `peft` installed:

    python -m tests.references.make_references [FOLDER]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from peft.tuners.lora import LoraLayer

from tests.support.tiny_models import add_tokenizer, vocabulary

Floats = NDArray[np.float32]

DATA = Path(__file__).parent / "data"
SEED = 7
N_EMBD, N_FF, N_LAYER, N_HEAD, N_HEAD_KV = 32, 64, 2, 4, 2
N_CTX = 256
ROPE_BASE, NORM_EPS = 10_000.0, 1e-5

PROMPTS = ("Hello", "the other one\n", "A stack of adapters: é€")
STACKS: tuple[dict[str, float], ...] = (
    {},
    {"first": 1.0},
    {"second": 1.0},
    {"first": 0.5},
    {"first": -1.0},
    {"second": 1.75},
    {"first": 1.0, "second": 1.0},
    {"first": 0.7, "second": 0.4},
    {"first": 1.0, "second": -0.5},
    {"first": -0.25, "second": 2.0},
)


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """How one of the adapters is made."""

    rank: int
    alpha: int
    targets: tuple[str, ...]


ADAPTERS = {
    "first": AdapterKind(
        rank=4,
        alpha=8,
        targets=(
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
            "lm_head",
        ),
    ),
    "second": AdapterKind(rank=6, alpha=3, targets=("q_proj", "v_proj", "down_proj")),
}
TENSORS = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def make(folder: Path) -> None:
    """Write base.gguf, first.gguf, second.gguf, logits.npy and references.json into `folder`.

    The logits are float32 of shape (n_stacks, n_prompts, n_vocab): those after the last token.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = random_model()
    write_base(folder / "base.gguf", weights_of(model))
    adapted = with_random_adapters(model)
    for name, kind in ADAPTERS.items():
        write_adapter(folder / f"{name}.gguf", name, kind, weights_of(adapted))
    adapted.double()
    prompts = [list(prompt.encode()) for prompt in PROMPTS]  # the first 256 tokens are the bytes
    logits = np.stack([logits_under(adapted, stack, prompts) for stack in STACKS])
    np.save(folder / "logits.npy", logits)
    description = {
        "prompts": prompts,
        "stacks": STACKS,
        "seed": SEED,
        "made_with": {
            "torch": torch.__version__.partition("+")[0],
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
    }
    (folder / "references.json").write_text(json.dumps(description, indent=1) + "\n", "utf-8")


def random_model() -> Any:
    """Return a Llama with random weights, large enough that no layer is close to doing nothing."""
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=N_EMBD,
        intermediate_size=N_FF,
        num_hidden_layers=N_LAYER,
        num_attention_heads=N_HEAD,
        num_key_value_heads=N_HEAD_KV,
        max_position_embeddings=N_CTX,
        rms_norm_eps=NORM_EPS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config).eval()
    rng = np.random.default_rng(SEED)
    for name, parameter in sorted(model.named_parameters()):
        scale = 0.2 if "norm" in name else parameter.shape[-1] ** -0.5
        values = rng.standard_normal(tuple(parameter.shape)) * scale + ("norm" in name)
        fill(parameter, values)
    return model


def with_random_adapters(model: Any) -> Any:
    """Return the model with both adapters; PEFT's own start values would have B = 0."""
    adapted: Any = None
    for name, kind in ADAPTERS.items():
        config = peft.LoraConfig(
            r=kind.rank, lora_alpha=kind.alpha, target_modules=list(kind.targets)
        )
        if adapted is None:
            adapted = peft.get_peft_model(model, config, adapter_name=name)
        else:
            adapted.add_adapter(name, config)
    rng = np.random.default_rng(SEED + 1)
    for name, parameter in sorted(adapted.named_parameters()):
        if ".lora_" in name:
            fill(parameter, rng.standard_normal(tuple(parameter.shape)) * 0.4)
    return adapted.eval()


def fill(parameter: Any, values: NDArray[np.float64]) -> None:
    """Set a parameter to values rounded to float32."""
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def logits_under(
    adapted: Any, stack: Mapping[str, float], prompts: Sequence[Sequence[int]]
) -> Floats:
    """Return the logits after each prompt with the adapters of `stack` added up, by PEFT itself.

    PEFT's scaling of a layer is alpha / rank; the scale of the stack multiplies it.
    """
    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            for name in module.scaling:
                kind = ADAPTERS[name]
                module.scaling[name] = stack.get(name, 0.0) * kind.alpha / kind.rank
    adapted.base_model.set_adapter(list(ADAPTERS))
    rows = []
    with torch.no_grad():
        for prompt in prompts:
            if stack:
                out = adapted(input_ids=torch.tensor([prompt])).logits
            else:
                with adapted.disable_adapter():
                    out = adapted(input_ids=torch.tensor([prompt])).logits
            rows.append(out[0, -1].numpy())
    return np.stack(rows).astype(np.float32)


def weights_of(model: Any) -> dict[str, Floats]:
    """Return the parameters by name, without PEFT's prefixes."""
    return {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): parameter.numpy()
        for name, parameter in model.state_dict().items()
    }


def gguf_name(name: str) -> str:
    """Return the GGUF name of a Llama module: `model.layers.0.self_attn.q_proj` is `blk.0.attn_q`.

    Source: gguf-py's tensor_mapping.py.
    """
    whole = {
        "lm_head": "output",
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
    }
    if name in whole:
        return whole[name]
    parts = name.split(".")
    return f"blk.{parts[2]}.{TENSORS[parts[-1]]}"


def interleaved(rows: Floats, n_head: int) -> Floats:
    """Return the rows of a query or key matrix in llama.cpp's order.

    transformers rotates the halves of each head against each other, llama.cpp neighbours; source:
    `LlamaModel.permute` of convert_hf_to_gguf.py.
    """
    n_rows, n_columns = rows.shape
    halves = rows.reshape(n_head, 2, n_rows // n_head // 2, n_columns)
    return halves.swapaxes(1, 2).reshape(n_rows, n_columns)


def in_gguf_order(name: str, rows: Floats) -> Floats:
    """Return the output rows of a module, or of its LoRA B, in the order of the GGUF."""
    if name.endswith("q_proj"):
        return interleaved(rows, N_HEAD)
    if name.endswith("k_proj"):
        return interleaved(rows, N_HEAD_KV)
    return rows


def write_base(path: Path, weights: Mapping[str, Floats]) -> None:
    """Write the model as float32 GGUF."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("Reference")
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_layer_norm_rms_eps(NORM_EPS)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_rope_dimension_count(N_EMBD // N_HEAD)
    add_tokenizer(writer, add_bos=False, chat_template=None)
    for name, values in weights.items():
        module = name.removesuffix(".weight")
        rows = in_gguf_order(module, values) if values.ndim == 2 else values
        writer.add_tensor(f"{gguf_name(module)}.weight", np.ascontiguousarray(rows))
    close(writer)


def write_adapter(path: Path, name: str, kind: AdapterKind, weights: Mapping[str, Floats]) -> None:
    """Write one of the adapters as float32 GGUF; `weights` are those of the adapted model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_name(name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", kind.alpha)
    for key, a in weights.items():
        module, is_a, _ = key.partition(f".lora_A.{name}.weight")
        if is_a:
            b = weights[f"{module}.lora_B.{name}.weight"]
            tensor = f"{gguf_name(module)}.weight"
            writer.add_tensor(f"{tensor}.lora_a", np.ascontiguousarray(a))
            writer.add_tensor(f"{tensor}.lora_b", np.ascontiguousarray(in_gguf_order(module, b)))
    close(writer)


def close(writer: Any) -> None:
    """Write what was added, and the file's end."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compute the references with torch and PEFT.")
    parser.add_argument("folder", type=Path, nargs="?", default=DATA)
    make(parser.parse_args().folder)
