"""What PEFT saves is read as PEFT computes it: every module's delta, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.errors import AdapterError

pytestmark = pytest.mark.reference

Doubles = NDArray[np.float64]
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def model_of(architecture: str) -> Any:
    """Return a tiny random model of transformers."""
    import torch
    import transformers as tf

    torch.manual_seed(0)
    if architecture == "llama":
        return tf.LlamaForCausalLM(tf.LlamaConfig(**SMALL, tie_word_embeddings=False))
    if architecture == "mixtral":
        return tf.MixtralForCausalLM(tf.MixtralConfig(**SMALL, num_local_experts=3))
    if architecture == "gpt-oss":
        return tf.GptOssForCausalLM(tf.GptOssConfig(**SMALL, num_local_experts=3))
    if architecture == "gpt2":
        return tf.GPT2LMHeadModel(
            tf.GPT2Config(
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_positions=32,
                vocab_size=64,
                bos_token_id=1,
                eos_token_id=2,
            )
        )
    assert architecture == "gemma3"
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = tf.Gemma3Config(text_config=SMALL, vision_config=vision, mm_tokens_per_image=4)
    return tf.Gemma3ForConditionalGeneration(config)


def saved(folder: Path, architecture: str, config: Any, **options: Any) -> Any:
    """Save a random adapter of this configuration as PEFT does; returns PEFT's model."""
    import torch
    from peft import get_peft_model

    model = get_peft_model(copy.deepcopy(model_of(architecture)), config)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter) * 0.3
    model.save_pretrained(folder, **options)
    return model


def deltas_of(model: Any) -> dict[str, Doubles]:
    """Return what PEFT adds to each module's weight, by module and parameter."""
    deltas = {}
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "get_delta_weight"):
            parameter = getattr(module, "parameter_name", "weight")
            path = name.replace(".base_layer", "")
            full = path if parameter == "weight" else f"{path}.{parameter}"
            delta = module.get_delta_weight("default")
            deltas[full] = delta.detach().numpy().astype(np.float64)
    return deltas


def delta(module: LoraModule) -> Doubles:
    """Return scale * b @ a, of an embedding as its rows are looked up."""
    product = module.b.read().astype(np.float64) @ module.a.read().astype(np.float64)
    product = module.scale * (product.T if module.kind is ModuleKind.EMBEDDING else product)
    return np.asarray(product, np.float64)


def compare(folder: Path, model: Any, *, is_input_first: bool = False) -> None:
    """Assert that the adapter in the folder does what the model of PEFT does.

    `is_input_first`: the architecture keeps weights of experts and Conv1D as (n_in, n_out).
    """
    theirs = deltas_of(model)
    for module in read_source(folder).modules:
        ours, expected = delta(module), theirs.pop(module.path)
        if is_input_first and (module.kind is ModuleKind.EXPERTS or ".h." in module.path):
            ours = np.swapaxes(ours, -1, -2)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=3e-6)
    assert not theirs


def lora(**fields: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"r": 4, "lora_alpha": 7, "task_type": "CAUSAL_LM", **fields})


@pytest.mark.parametrize("is_safe", [True, False])
def test_linear_layers(tmp_path: Path, is_safe: bool) -> None:
    config = lora(target_modules="all-linear")
    if is_safe:
        compare(tmp_path, saved(tmp_path, "llama", config))
        return
    import torch

    model = saved(tmp_path, "llama", config)
    from safetensors.torch import load_file

    weights = tmp_path / "adapter_model.safetensors"
    torch.save(load_file(weights), tmp_path / "adapter_model.bin")
    weights.unlink()
    compare(tmp_path, model)


def test_rslora_with_patterns(tmp_path: Path) -> None:
    config = lora(
        target_modules=["q_proj", "v_proj", "down_proj"],
        use_rslora=True,
        rank_pattern={"q_proj": 2, r".*\.1\.mlp\.down_proj": 8},
        alpha_pattern={"^model.layers.0.self_attn.v_proj": 3, "mlp.down_proj": 5},
    )
    compare(tmp_path, saved(tmp_path, "llama", config))


def test_embedding_and_head(tmp_path: Path) -> None:
    config = lora(target_modules=["q_proj", "embed_tokens", "lm_head"])
    model = saved(tmp_path, "llama", config, save_embedding_layers=True)
    compare(tmp_path, model)


@pytest.mark.parametrize(
    "targets", [EXPERTS, EXPERTS[:1], EXPERTS[1:], ["mlp.gate.weight", *EXPERTS]]
)
def test_experts(tmp_path: Path, targets: list[str]) -> None:
    config = lora(
        target_modules=["q_proj"],
        target_parameters=targets,
        rank_pattern={"experts.down_proj": 2},
        alpha_pattern={r".*\.gate_up_proj": 3},
    )
    compare(tmp_path, saved(tmp_path, "mixtral", config))


def test_experts_that_are_stored_with_their_inputs_first(tmp_path: Path) -> None:
    config = lora(target_modules=["q_proj"], target_parameters=EXPERTS)
    compare(tmp_path, saved(tmp_path, "gpt-oss", config), is_input_first=True)


def test_conv1d(tmp_path: Path) -> None:
    config = lora(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)
    compare(tmp_path, saved(tmp_path, "gpt2", config), is_input_first=True)


@pytest.mark.parametrize("is_pruned", [False, True])
def test_adalora(tmp_path: Path, is_pruned: bool) -> None:
    from peft import AdaLoraConfig, PeftModel

    config = AdaLoraConfig(
        init_r=6, target_r=4, lora_alpha=7, total_step=10, target_modules=["q_proj", "v_proj"]
    )
    if not is_pruned:
        compare(tmp_path, saved(tmp_path, "llama", config))
        return
    config.rank_pattern = {
        f"model.layers.{layer}.self_attn.{name}_proj.lora_E": [True, False, True, True, False, True]
        for layer in range(2)
        for name in "qv"
    }
    saved(tmp_path, "llama", config)
    compare(tmp_path, PeftModel.from_pretrained(model_of("llama"), tmp_path))


def test_the_text_model_of_a_vision_model(tmp_path: Path) -> None:
    model = saved(tmp_path, "gemma3", lora(target_modules=["q_proj", "fc1"]))
    source = read_source(tmp_path)
    theirs = deltas_of(model)
    assert [module.path for module in source.modules] == [
        f"model.layers.{layer}.self_attn.q_proj" for layer in range(2)
    ]
    for module in source.modules:
        expected = theirs.pop(module.path.replace("model.", "model.language_model.", 1))
        np.testing.assert_allclose(delta(module), expected, rtol=0, atol=3e-6)
    assert set(source.dropped) == theirs.keys()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"use_dora": True}, "uses DoRA"),
        ({"lora_bias": True}, "bias on B"),
        ({"modules_to_save": ["lm_head"]}, "whole weights of 'lm_head.weight'"),
        ({"trainable_token_indices": [3]}, "rows of the token embedding"),
        ({"init_lora_weights": "pissa"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "olora"}, "path_initial_model_for_weight_conversion"),
    ],
)
def test_what_is_no_plain_lora_is_refused(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    saved(tmp_path, "llama", lora(target_modules=["q_proj"], **fields))
    with pytest.raises(AdapterError, match=said):
        read_source(tmp_path)


def test_trained_biases_are_refused_and_absent_ones_are_not(tmp_path: Path) -> None:
    config = lora(target_modules=["c_attn"], fan_in_fan_out=True, bias="all")
    saved(tmp_path / "gpt2", "gpt2", config)
    with pytest.raises(AdapterError, match="trained biases too"):
        read_source(tmp_path / "gpt2")
    config = lora(target_modules=["q_proj"], bias="all")
    compare(tmp_path / "llama", saved(tmp_path / "llama", "llama", config))


def test_an_adapter_of_pissa_that_was_converted_is_plain_lora(tmp_path: Path) -> None:
    import torch
    from peft import get_peft_model

    base = model_of("llama")
    model = get_peft_model(
        copy.deepcopy(base), lora(target_modules=["q_proj"], init_lora_weights="pissa")
    )
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "start")
    model.peft_config["default"].init_lora_weights = "pissa"
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(
        tmp_path / "adapter", path_initial_model_for_weight_conversion=str(tmp_path / "start")
    )
    tuned = model.merge_and_unload().state_dict()
    for module in read_source(tmp_path / "adapter").modules:
        name = f"{module.path}.weight"
        change = (tuned[name] - base.state_dict()[name]).double().numpy()
        np.testing.assert_allclose(delta(module), change, rtol=0, atol=1e-5)
