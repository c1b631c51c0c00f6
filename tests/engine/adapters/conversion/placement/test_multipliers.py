"""Weights that llama.cpp's converter multiplies by numbers of the configuration."""

from typing import Any

import numpy as np
import pytest

from engine.adapters.conversion.placement.build_pair import Contribution, planned_pair
from engine.adapters.conversion.placement.layout import Layout, Part
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from tests.support.hand_headers import Floats, hand_header, module, source, weight_delta

N_EMBD, N_VOCAB, N_FF, N_INNER, N_STATE = 16, 20, 24, 8, 6
N_MIXED = 2 * N_INNER + 2 * N_STATE + 4
FALCON_H1 = {
    "attention_in_multiplier": 2.0,
    "attention_out_multiplier": 3,
    "key_multiplier": 0.5,
    "mlp_multipliers": [5.0, 0.25],
    "ssm_in_multiplier": 2.0,
    "ssm_out_multiplier": 7.0,
    "ssm_multipliers": [1.0, 2.0, 4.0, 8.0, 16.0],
    "lm_head_multiplier": 0.125,
    "embedding_multiplier": 11.0,
    "mamba_d_ssm": N_INNER,
    "mamba_n_groups": 2,
    "mamba_d_state": N_STATE // 2,
}
SHAPES = {
    "token_embd.weight": (N_VOCAB, N_EMBD),
    "output.weight": (N_VOCAB, N_EMBD),
    "blk.0.attn_q.weight": (N_EMBD, N_EMBD),
    "blk.0.attn_k.weight": (N_EMBD, N_EMBD),
    "blk.0.attn_v.weight": (N_EMBD, N_EMBD),
    "blk.0.attn_output.weight": (N_EMBD, N_EMBD),
    "blk.0.ffn_gate.weight": (N_FF, N_EMBD),
    "blk.0.ffn_up.weight": (N_FF, N_EMBD),
    "blk.0.ffn_down.weight": (N_EMBD, N_FF),
    "blk.0.ssm_in.weight": (N_MIXED, N_EMBD),
    "blk.0.ssm_out.weight": (N_EMBD, N_INNER),
    "blk.0.attn_qkv.weight": (3 * N_EMBD, N_EMBD),
}
KEYS = {"block_count": 1, "attention.head_count": 2, "embedding_length": N_EMBD}


def _header(architecture: str) -> GgufHeader:
    return hand_header(architecture, SHAPES, KEYS)


def _delta(
    one: LoraModule, architecture: str, config: dict[str, Any] | None, scale: float = 1.0
) -> Floats:
    (pair,) = make_plan(source([one]), _header(architecture), config).pairs
    a, b = pair.build([scale])
    delta: Floats = a @ b.T if pair.target == "token_embd.weight" else b @ a
    return delta


def _module(path: str, target: str) -> LoraModule:
    kind = ModuleKind.EMBEDDING if target == "token_embd.weight" else ModuleKind.LINEAR
    return module(path, SHAPES[target], kind=kind)


@pytest.mark.parametrize(
    ("path", "target", "factor"),
    [
        ("model.layers.0.self_attn.q_proj", "blk.0.attn_q.weight", 2.0),
        ("model.layers.0.self_attn.k_proj", "blk.0.attn_k.weight", 1.0),
        ("model.layers.0.self_attn.v_proj", "blk.0.attn_v.weight", 2.0),
        ("model.layers.0.self_attn.o_proj", "blk.0.attn_output.weight", 3.0),
        ("model.layers.0.feed_forward.gate_proj", "blk.0.ffn_gate.weight", 5.0),
        ("model.layers.0.feed_forward.up_proj", "blk.0.ffn_up.weight", 1.0),
        ("model.layers.0.feed_forward.down_proj", "blk.0.ffn_down.weight", 0.25),
        ("model.layers.0.mamba.out_proj", "blk.0.ssm_out.weight", 7.0),
        ("lm_head", "output.weight", 0.125),
        ("model.embed_tokens", "token_embd.weight", 11.0),
    ],
)
def test_deltas_of_falcon_h1_are_multiplied_as_its_weights_are(
    path: str, target: str, factor: float
) -> None:
    one = _module(path, target)
    expected = weight_delta(one) * np.float32(factor)
    assert np.array_equal(_delta(one, "falcon-h1", FALCON_H1), expected)
    assert np.array_equal(_delta(one, "falcon-h1", FALCON_H1, 2.0), 2 * expected)


def test_each_part_of_falcon_h1s_state_space_has_its_own_multiplier() -> None:
    one = _module("model.layers.0.mamba.in_proj", "blk.0.ssm_in.weight")
    expected = weight_delta(one) * np.float32(2.0)
    at = 0
    for size, factor in zip((8, 8, 6, 6, 4), (1, 2, 4, 8, 16), strict=True):
        expected[at : at + size] *= np.float32(factor)
        at += size
    assert np.array_equal(_delta(one, "falcon-h1", FALCON_H1), expected)


@pytest.mark.parametrize(
    ("config", "path", "target", "factor"),
    [
        ({"embeddings_scale": 4.0}, "transformer.wte", "token_embd.weight", 4.0),
        ({"mup_embeddings_scale": 8.0}, "transformer.wte", "token_embd.weight", 8.0),
        ({"width_scale": 0.5}, "lm_head", "output.weight", 0.5),
        ({"mup_output_alpha": 2.0, "mup_width_scale": 4.0}, "lm_head", "output.weight", 8.0),
    ],
)
def test_embeddings_and_head_of_jais_are_multiplied(
    config: dict[str, Any], path: str, target: str, factor: float
) -> None:
    one = _module(path, target)
    expected = weight_delta(one) * np.float32(factor)
    assert np.array_equal(_delta(one, "jais", config), expected)


def test_layers_of_jais_need_no_configuration() -> None:
    one = module("transformer.h.0.attn.c_attn", (3 * N_EMBD, N_EMBD))
    assert np.array_equal(_delta(one, "jais", None), weight_delta(one))


def test_each_row_of_a_fused_tensor_of_falcon_h1_has_its_parts_factor() -> None:
    modules = [module(f"model.layers.0.self_attn.{n}_proj", (N_EMBD, N_EMBD)) for n in "qkv"]
    shapes = {"blk.0.attn_qkv.weight": (3 * N_EMBD, N_EMBD)}
    header = hand_header("falcon-h1", shapes, KEYS)
    (pair,) = make_plan(source(modules), header, FALCON_H1).pairs
    a, b = pair.build([1.0] * 3)
    q, k, v = map(weight_delta, modules)
    assert np.array_equal(b @ a, np.concatenate([2 * q, k, 2 * v]))


def test_gate_and_up_in_one_tensor_of_falcon_h1_have_their_own_factors() -> None:
    shapes = {"blk.0.ffn_up.weight": (2 * N_FF, N_EMBD), "blk.0.ffn_down.weight": (N_EMBD, N_FF)}
    one = module("model.layers.0.mlp.gate_up_proj", (2 * N_FF, N_EMBD))
    (pair,) = make_plan(source([one]), hand_header("falcon-h1", shapes, KEYS), FALCON_H1).pairs
    a, b = pair.build([1.0])
    gate, up = np.split(weight_delta(one), 2)
    assert np.array_equal(b @ a, np.concatenate([5 * gate, up]))


def test_a_tensor_of_falcon_h1_without_a_rule_is_refused() -> None:
    one = module("model.layers.0.mlp.router", (4, N_EMBD))
    shapes = {"blk.0.ffn_gate_inp.weight": (4, N_EMBD)}
    with pytest.raises(
        AdapterError, match="multipliers of 'ffn_gate_inp' in falcon-h1 models are unknown"
    ):
        make_plan(source([one]), hand_header("falcon-h1", shapes, KEYS), FALCON_H1)


def test_rows_of_several_modules_have_each_row_s_factor_and_each_module_s_scale() -> None:
    header = hand_header("qwen3", {"x": (6, N_EMBD)}, KEYS)
    modules = [module(name, (3, N_EMBD), seed=ord(name)) for name in "ab"]
    contributions = []
    for start, one in zip((3, 0), modules, strict=True):
        parts = (Part("x", start, np.array([2, 1, 0], np.intp)),)
        contributions.append(Contribution(one, Layout(parts, 3, N_EMBD), parts))
    factors = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    a, b = planned_pair(header.tensors["x"], contributions, factors).build([3.0, 5.0])
    rows = np.concatenate([5 * weight_delta(modules[1])[::-1], 3 * weight_delta(modules[0])[::-1]])
    assert np.array_equal(b @ a, rows * factors[:, None])


def test_a_missing_configuration_is_asked_for() -> None:
    one = _module("model.layers.0.self_attn.q_proj", "blk.0.attn_q.weight")
    with pytest.raises(AdapterError, match=r"give the base's config\.json with --config\.$"):
        make_plan(source([one]), _header("falcon-h1"))


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_in_multiplier": None},
        {"attention_in_multiplier": "2"},
        {"attention_in_multiplier": True},
    ],
)
def test_a_configuration_without_the_number_is_refused(changes: dict[str, Any]) -> None:
    one = _module("model.layers.0.self_attn.q_proj", "blk.0.attn_q.weight")
    with pytest.raises(AdapterError, match="lacks the number 'attention_in_multiplier'"):
        make_plan(source([one]), _header("falcon-h1"), {**FALCON_H1, **changes})


@pytest.mark.parametrize("multipliers", [[1.0, 2.0], 3.0, ["a"] * 5])
def test_a_configuration_with_too_few_numbers_is_refused(multipliers: object) -> None:
    one = _module("model.layers.0.mamba.in_proj", "blk.0.ssm_in.weight")
    config = {**FALCON_H1, "ssm_multipliers": multipliers}
    with pytest.raises(AdapterError, match="lacks the number 'ssm_multipliers'"):
        make_plan(source([one]), _header("falcon-h1"), config)


def test_a_configuration_of_another_size_is_refused() -> None:
    one = _module("model.layers.0.mamba.in_proj", "blk.0.ssm_in.weight")
    with pytest.raises(AdapterError, match="mamba_d_ssm 64 does not fit"):
        make_plan(source([one]), _header("falcon-h1"), {**FALCON_H1, "mamba_d_ssm": 64})
