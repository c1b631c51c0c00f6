"""The tensors of a PEFT adapter become modules, and what is beside them is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.errors import AdapterError
from tests.support.peft_folders import PREFIX, pair, write_peft

Array = NDArray[Any]
Q = "model.layers.0.self_attn.q_proj"
EXPERTS = "model.layers.1.mlp.experts"
A, B = pair(6, 4, 2)


def source_of(
    folder: Path,
    modules: dict[str, tuple[Array, Array]] | None = None,
    tensors: dict[str, Array] | None = None,
    prefix: str = PREFIX,
    **config: object,
) -> LoraSource:
    """Return the adapter with these modules and tensors, rank 2 and alpha 3."""
    write_peft(
        folder, modules or {}, alpha=3, r=2, config=config, tensors=tensors or {}, prefix=prefix
    )
    return read_source(folder)


def refusal(folder: Path, **given: Any) -> str:
    """Return the one sentence that refuses the adapter with these modules and tensors."""
    with pytest.raises(AdapterError) as error:
        source_of(folder, **given)
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 450 + len(str(folder))
    return message


def delta(module: LoraModule) -> Array:
    """Return what a module adds, as numpy multiplies it in float64."""
    return module.scale * (module.b.read().astype(np.float64) @ module.a.read().astype(np.float64))


def test_a_linear_layer_keeps_its_factors(tmp_path: Path) -> None:
    (module,) = source_of(tmp_path, {Q: (A, B)}).modules
    assert (module.path, module.kind, module.scale) == (Q, ModuleKind.LINEAR, 1.5)
    assert module.rank == 2
    np.testing.assert_array_equal(module.a.read(), A)
    np.testing.assert_array_equal(module.b.read(), B)


def test_an_embedding_keeps_the_vocabulary_in_its_a(tmp_path: Path) -> None:
    a, b = pair(4, 9, 2)
    (module,) = source_of(tmp_path, {"model.embed_tokens": (a, b)}).modules
    assert (module.path, module.kind) == ("model.embed_tokens", ModuleKind.EMBEDDING)
    assert (module.a.shape, module.b.shape) == ((2, 9), (4, 2))
    np.testing.assert_array_equal(module.a.read(), a)


@pytest.mark.parametrize(
    "prefix",
    ["base_model.model.", "base_model.model.base_model.model.", "", "module.", "_orig_mod."],
)
def test_trainers_prefixes_make_no_difference(tmp_path: Path, prefix: str) -> None:
    source = source_of(tmp_path, {Q: (A, B)}, prefix=prefix)
    assert [module.path for module in source.modules] == [Q]


def test_a_raw_state_dict_with_the_adapters_name_is_read(tmp_path: Path) -> None:
    tensors = {
        f"{PREFIX}{Q}.lora_A.default.weight": A,
        f"{PREFIX}{Q}.lora_B.default.weight": B,
        f"{PREFIX}model.embed_tokens.lora_embedding_A.default": A,
        f"{PREFIX}model.embed_tokens.lora_embedding_B.default": B,
    }
    source = source_of(tmp_path, tensors=tensors)
    assert [module.path for module in source.modules] == [Q, "model.embed_tokens"]


def test_unsloths_configuration_is_read(tmp_path: Path) -> None:
    source = source_of(
        tmp_path,
        {Q: (A, B)},
        unsloth_fixed=True,
        auto_mapping={"base_model_class": "LlamaForCausalLM", "parent_library": "transformers"},
        base_model_name_or_path="unsloth/llama-3.2-1b-instruct-bnb-4bit",
        use_rslora=True,
        target_modules=r"(?:.*?(?:language|text).*?q_proj)",
    )
    assert source.modules[0].scale == 3 / np.sqrt(2)
    (notice,) = source.notices
    assert "NF4" in notice
    assert "unsloth/llama-3.2-1b-instruct-bnb-4bit" in notice


def test_ms_swifts_configuration_is_read(tmp_path: Path) -> None:
    source = source_of(
        tmp_path, {Q: (A, B)}, lora_dtype="bfloat16", lorap_lr_ratio=None, lorap_emb_lr=1e-6
    )
    assert source.modules[0].scale == 1.5


def test_a_text_model_inside_a_vision_model_is_read_alone(tmp_path: Path) -> None:
    tower = "model.vision_tower.encoder.layers.0.self_attn.q_proj"
    tensors = {f"{PREFIX}{tower}.lora_A.weight": np.ones((2, 3, 1, 1), np.float32)}
    modules = {
        "model.language_model.layers.0.self_attn.q_proj": (A, B),
        "visual.merger.mlp.0": (A, B),
    }
    source = source_of(tmp_path, modules, tensors)
    assert [module.path for module in source.modules] == [Q]
    assert source.dropped == (tower, "visual.merger.mlp.0")
    assert (
        "Left out 2 modules of a vision or audio tower, kept 1 module of the text model."
        in source.notices[0]
    )


def test_a_projector_trained_whole_is_left_out_and_counted(tmp_path: Path) -> None:
    tensors = {
        f"{PREFIX}model.multi_modal_projector.linear.{leaf}": B for leaf in ("weight", "bias")
    }
    source = source_of(tmp_path, {Q: (A, B)}, tensors, modules_to_save=["multi_modal_projector"])
    assert source.dropped == ("model.multi_modal_projector.linear",)
    (notice,) = source.notices
    assert "Left out 1 module of a vision or audio tower" in notice


def test_an_adapter_of_a_vision_tower_alone_is_refused(tmp_path: Path) -> None:
    assert "changes nothing but a vision or audio tower" in refusal(
        tmp_path, modules={"visual.x.0": (A, B)}
    )


def test_patterns_match_the_name_that_was_trained(tmp_path: Path) -> None:
    path = "model.language_model.layers.0.self_attn.q_proj"
    (module,) = source_of(
        tmp_path, {path: (A, B)}, alpha_pattern={"^model.language_model.layers.0.*q_proj": 10}
    ).modules
    assert module.scale == 5.0


def test_experts_that_are_linear_layers_stay_that(tmp_path: Path) -> None:
    paths = [f"{EXPERTS}.3.gate_proj", "model.layers.0.block_sparse_moe.experts.0.w1"]
    source = source_of(tmp_path, dict.fromkeys(paths, (A, B)))
    assert [(module.path, module.kind) for module in source.modules] == [
        (path, ModuleKind.LINEAR) for path in paths
    ]


def test_the_copy_of_an_adapted_embedding_and_head_is_passed_over(tmp_path: Path) -> None:
    tensors = {
        f"{PREFIX}model.embed_tokens.base_layer.weight": np.zeros((9, 4), np.float32),
        f"{PREFIX}lm_head.base_layer.weight": np.zeros((9, 4), np.float32),
    }
    modules = {"model.embed_tokens": pair(4, 9, 2), "lm_head": pair(9, 4, 2)}
    source = source_of(tmp_path, modules, tensors)
    assert [module.path for module in source.modules] == ["model.embed_tokens", "lm_head"]


def test_adaloras_singular_values_go_into_a(tmp_path: Path) -> None:
    e = np.array([[2.0], [-0.5]], np.float32)
    names = {"lora_A": A, "lora_B": B, "lora_E": e}
    (module,) = source_of(
        tmp_path,
        tensors={f"{PREFIX}{Q}.{part}": values for part, values in names.items()},
        peft_type="ADALORA",
        init_r=12,
        target_r=2,
        total_step=10,
        rank_pattern={f"{Q}.lora_E": [True, True] + [False] * 10},
    ).modules
    expected = 3 / (12 + 1e-5) * (B.astype(np.float64) @ (A * e).astype(np.float64))
    np.testing.assert_array_equal(delta(module), expected)


def test_a_module_said_to_be_saved_but_absent_gets_a_notice(tmp_path: Path) -> None:
    source = source_of(tmp_path, {Q: (A, B)}, modules_to_save=["lm_head"])
    assert "lists 'lm_head' as trained whole, but the weights lack it" in source.notices[0]


def test_velora_is_plain_lora_once_trained(tmp_path: Path) -> None:
    tensors = {f"{PREFIX}{Q}.lora_velora_embed": np.zeros(4, np.float32)}
    source = source_of(tmp_path, {Q: (A, B)}, tensors, velora_config={"num_groups": 64})
    assert len(source.modules) == 1


def vector(n: int = 6) -> Array:
    return np.zeros(n, np.float32)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA's magnitudes without its flag": (
        {"tensors": {f"{PREFIX}{Q}.lora_magnitude_vector": vector()}},
        "uses DoRA",
    ),
    "a bias on B": ({"tensors": {f"{PREFIX}{Q}.lora_B.bias": vector()}}, "bias on lora_B of"),
    "a trained bias": (
        {"tensors": {f"{PREFIX}{Q}.base_layer.bias": vector()}, "bias": "lora_only"},
        "trained biases too ('model.layers.0.self_attn.q_proj.base_layer.bias')",
    ),
    "a bias of another module": (
        {"tensors": {f"{PREFIX}model.layers.0.mlp.up_proj.bias": vector()}, "bias": "all"},
        "trained biases too",
    ),
    "Axolotl's whole head": (
        {"tensors": {f"{PREFIX}lm_head.weight": np.zeros((9, 4), np.float32)}},
        "whole weights of 'lm_head.weight'",
    ),
    "an embedding that grew": (
        {"tensors": {f"{PREFIX}model.embed_tokens.weight": np.zeros((9, 4), np.float32)}},
        "save_embedding_layers=False",
    ),
    "a saved classifier": (
        {"tensors": {f"{PREFIX}score.modules_to_save.weight": np.zeros((2, 4), np.float32)}},
        "whole weights of 'score.modules_to_save.weight'",
    ),
    "a copy of another vocabulary": (
        {
            "modules": {"model.embed_tokens": pair(4, 9, 2)},
            "tensors": {f"{PREFIX}model.embed_tokens.base_layer.weight": np.zeros((10, 4))},
        },
        "of another size than its factors",
    ),
    "a copy of a module without factors": (
        {"tensors": {f"{PREFIX}model.embed_tokens.base_layer.weight": np.zeros((9, 4))}},
        "of another size than its factors",
    ),
    "new rows of the embedding": (
        {"tensors": {f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta": vector()}},
        "rows of the token embedding",
    ),
    "a part not invented yet": (
        {"tensors": {f"{PREFIX}{Q}.lora_C.weight": A}},
        "has 'lora_C' at 'model.layers.0.self_attn.q_proj', unknown in plain LoRA",
    ),
    "A without B": (
        {"tensors": {f"{PREFIX}model.layers.0.mlp.up_proj.lora_A.weight": A}},
        "lacks lora_B of 'model.layers.0.mlp.up_proj'",
    ),
    "an embedding without its B": (
        {"tensors": {f"{PREFIX}model.embed_tokens.lora_embedding_A": A}},
        "lacks lora_embedding_B",
    ),
    "ranks that differ": ({"modules": {Q: (A, pair(6, 4, 3)[1])}}, "A of rank 2 but a B of rank 3"),
    "another rank than configured": ({"modules": {Q: pair(6, 4, 5)}}, "has rank 5 at"),
    "factors that DeepSpeed kept": (
        {"modules": {Q: (np.zeros(0, np.float32), np.zeros(0, np.float32))}},
        "gather the weights",
    ),
    "factors of a convolution": (
        {"modules": {Q: (np.zeros((2, 4, 3)), np.zeros((6, 2, 1)))}},
        "factors with 3 dimensions",
    ),
    "two adapters in one file": (
        {
            "tensors": {
                f"{PREFIX}{Q}.lora_{part}.{name}.weight": values
                for part, values in (("A", A), ("B", B))
                for name in ("one", "two")
            }
        },
        "several adapters in one file ('', 'one', 'two')",
    ),
    "one module twice": (
        {"tensors": {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B}},
        "has lora_A of 'model.layers.0.self_attn.q_proj' twice",
    ),
    "one module under two names": (
        {"modules": {Q: (A, B), "model.language_model.layers.0.self_attn.q_proj": (A, B)}},
        "adapts 'model.layers.0.self_attn.q_proj' twice",
    ),
    "a name of control characters": ({"tensors": {"a\nb": A}}, "impossible name 'a\\nb'"),
    "an endless name": ({"tensors": {"a" * 10_000: A}}, "aaa…': download"),
    "a head in integers": ({"tensors": {}, "modules": {}}, "holds no LoRA factors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_lora_is_refused(tmp_path: Path, case: str) -> None:
    given, said = REFUSED[case]
    assert said in refusal(tmp_path, **{"modules": {Q: (A, B)}, **given})
