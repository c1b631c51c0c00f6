"""Names of modules, whoever wrote them, become those of the causal language model."""

from __future__ import annotations

import pytest

from engine.adapters.foreign.module_names import (
    LoraKey,
    causal_path,
    is_embedding,
    is_of_other_tower,
    lora_key,
)

Q = "layers.0.self_attn.q_proj"
PLAIN = LoraKey(f"model.{Q}", "lora_A", "", is_bias=False)


@pytest.mark.parametrize(
    "name",
    [
        f"base_model.model.model.{Q}.lora_A.weight",  # PEFT, LLaMA-Factory, Unsloth, Axolotl
        f"base_model.model.base_model.model.model.{Q}.lora_A.weight",  # wrapped twice
        f"base_model.model._orig_mod.model.{Q}.lora_A.weight",  # torch.compile
        f"_orig_mod.base_model.model.model.{Q}.lora_A.weight",
        "base_model.model.model.layers.0._checkpoint_wrapped_module.self_attn.q_proj.lora_A.weight",
        f"_fsdp_wrapped_module.base_model.model.model._fsdp_wrapped_module.{Q}.lora_A.weight",
        f"module.base_model.model.model.{Q}.lora_A.weight",  # data parallelism
        f"model.base_model.model.model.{Q}.lora_A.weight",  # Lightning
        f"model.{Q}.lora_A.weight",  # without PEFT's prefix
        f"module.module._orig_mod.base_model.model.model.{Q}.lora_A.weight",
        "base_model.model.module.model.layers.0.module.self_attn._orig_mod.q_proj.lora_A.weight",
        "base_model.model.model._fpw_module.layers.0.self_attn.q_proj.module.lora_A.weight",
        f"_forward_module.base_model.model.model.{Q}.lora_A.weight",  # Lightning
    ],
)
def test_wrappers_are_taken_off(name: str) -> None:
    assert lora_key(name) == PLAIN


@pytest.mark.parametrize("adapter", ["default", "my_adapter", "a.b", "lora"])
def test_the_name_of_the_adapter_is_told(adapter: str) -> None:
    key = lora_key(f"base_model.model.model.{Q}.lora_A.{adapter}.weight")
    assert key == LoraKey(f"model.{Q}", "lora_A", adapter, is_bias=False)
    key = lora_key(f"base_model.model.model.embed_tokens.lora_embedding_A.{adapter}")
    assert key == LoraKey("model.embed_tokens", "lora_embedding_A", adapter, is_bias=False)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (f"model.{Q}_A.weight", PLAIN),
        (f"model.{Q}_A", PLAIN),
        (f"model.{Q}_B.bias", LoraKey(f"model.{Q}", "lora_B", "", is_bias=True)),
        (f"model.{Q}_E", LoraKey(f"model.{Q}", "lora_E", "", is_bias=False)),
        (
            "model.embed_tokens_embedding_B",
            LoraKey("model.embed_tokens", "lora_embedding_B", "", is_bias=False),
        ),
        (
            f"model.{Q}_magnitude_vector",
            LoraKey(f"model.{Q}", "lora_magnitude_vector", "", is_bias=False),
        ),
    ],
)
def test_an_adapter_that_was_named_lora_lost_that_word_everywhere(name: str, key: LoraKey) -> None:
    assert lora_key(f"base_model.model.{name}") == key


def test_parts_of_other_methods_are_told() -> None:
    assert lora_key("m.q.lora_magnitude_vector") == LoraKey(
        "m.q", "lora_magnitude_vector", "", is_bias=False
    )
    assert lora_key("m.q.lora_B.bias") == LoraKey("m.q", "lora_B", "", is_bias=True)
    assert lora_key("m.q.lora_B.default.bias") == LoraKey("m.q", "lora_B", "default", is_bias=True)
    assert lora_key("m.experts.base_layer.lora_A.weight") == LoraKey(
        "m.experts.base_layer", "lora_A", "", is_bias=False
    )


@pytest.mark.parametrize("name", ["model.norm.weight", "lm_head.weight", "lora_A.weight", "lora"])
def test_other_tensors_are_no_factors(name: str) -> None:
    assert lora_key(name) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"model.{Q}", f"model.{Q}"),
        (f"model.language_model.{Q}", f"model.{Q}"),  # LLaVA, Gemma 3, Qwen2.5-VL of today
        (f"language_model.model.{Q}", f"model.{Q}"),  # the same of last year
        (f"model.language_model.model.{Q}", f"model.{Q}"),
        (f"model.text_model.{Q}", f"model.{Q}"),  # Idefics 3, SmolVLM
        (f"llm.model.{Q}", f"model.{Q}"),  # MiniCPM-V
        (f"thinker.model.{Q}", f"model.{Q}"),  # Qwen2.5-Omni
        (f"model.model.{Q}", f"model.{Q}"),
        ("language_model.lm_head", "lm_head"),
        ("model.unembed_tokens", "lm_head"),  # Tinker
        ("model.layers.0.attn.o_proj", "model.layers.0.self_attn.o_proj"),
        (  # gpt-oss in 4 bits
            "model.layers.2.mlp.experts.gate_up_projs.31",
            "model.layers.2.mlp.experts.31.gate_up_proj",
        ),
        ("model.layers.2.mlp.experts.down_projs.0", "model.layers.2.mlp.experts.0.down_proj"),
        ("model.layers.2.mlp.router.linear", "model.layers.2.mlp.router"),
        ("model.language_model.lm_head", "lm_head"),
        ("model.lm_head", "lm_head"),
        ("lm_head", "lm_head"),
        ("model.language_model.embed_tokens", "model.embed_tokens"),
        ("language_model.transformer.h.0.attn.c_attn", "transformer.h.0.attn.c_attn"),
        ("transformer.h.0.attn.c_attn", "transformer.h.0.attn.c_attn"),
        ("gpt_neox.layers.0.attention.dense", "gpt_neox.layers.0.attention.dense"),
        (
            "model.layers.3.block_sparse_moe.experts.7.w1",
            "model.layers.3.block_sparse_moe.experts.7.w1",
        ),
    ],
)
def test_a_text_model_inside_another_has_the_names_of_its_own(path: str, expected: str) -> None:
    assert causal_path(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj",
        "visual.blocks.3.attn.qkv",
        "model.visual.merger.mlp.0",
        "multi_modal_projector.linear_1",
        "model.connector.modality_projection.proj",
        "audio_tower.layers.0.self_attn.q_proj",
        "model.embed_audio.embedding_projection",
        "thinker.audio_tower.layers.0.fc1",
        "talker.model.layers.0.self_attn.q_proj",
        "vpm.encoder.layers.0.self_attn.q_proj",
        "mlp1.1",
        "model.video_tower.encoder.layers.0.self_attn.q_proj",
        "model.resampler_model.spatial_linear.fc1",
        "model.generation_aligner.fc1",
        "model.vision_embed_tokens.img_processor.layers.0.fc1",
    ],
)
def test_towers_that_see_or_hear_are_told(path: str) -> None:
    assert is_of_other_tower(path)


@pytest.mark.reference
@pytest.mark.parametrize(
    "family",
    [
        *("Llava", "Gemma3", "Qwen2VL", "Qwen2_5_VL", "Qwen3VL", "Idefics3", "SmolVLM", "Mllama"),
        *("InternVL", "Mistral3", "PaliGemma", "Glm4v", "Voxtral", "VideoLlava", "Ovis2"),
    ],
)
def test_all_modules_of_vision_models_are_sorted_out(family: str) -> None:
    import torch
    import transformers

    model_class = getattr(transformers, f"{family}ForConditionalGeneration")
    config = model_class.config_class()
    config.text_config.num_hidden_layers = 1
    with torch.device("meta"):
        model = model_class(config)
    kinds = (torch.nn.Linear, torch.nn.Embedding)
    paths = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    kept = {causal_path(path) for path in paths if not is_of_other_tower(path)}
    assert {path.partition(".0.")[0] for path in kept} == {
        "lm_head",
        "model.embed_tokens",
        "model.layers",
    }
    assert len(kept) < len(paths)


@pytest.mark.parametrize(
    "path",
    [
        f"model.language_model.{Q}",
        "model.embed_tokens",
        "lm_head",
        "model.layers.0.self_attn.vision_expert_query_key_value",  # CogVLM's, of a text layer
        "model.layers.0.mlp.gate_proj",
    ],
)
def test_the_text_model_is_no_such_tower(path: str) -> None:
    assert not is_of_other_tower(path)


def test_token_embeddings_are_told_by_their_names() -> None:
    assert is_embedding("model.embed_tokens")
    assert is_embedding("transformer.wte")
    assert not is_embedding("lm_head")
    assert not is_embedding("model.layers.0.mlp.up_proj")
