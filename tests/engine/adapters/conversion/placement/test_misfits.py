"""Adapters that do not fit a base: each gets one sentence that says what, where and why."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engine.adapters.checking.tied_output import untied
from engine.adapters.conversion.placement.architectures import ARCHITECTURES, EVERYWHERE
from engine.adapters.conversion.placement.base_model import full_name
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.conversion.placement.tensor_names import IN_EXPERT, IN_LAYER
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from tests.support.hand_architectures import HAND_ARCHITECTURES
from tests.support.hand_headers import (
    HEAD,
    N_EMBD,
    N_EXPERT,
    N_EXPERT_FF,
    N_FF,
    N_HEAD,
    N_KV,
    N_VOCAB,
    fused_header,
    hand_header,
    module,
    source,
    stored,
)

LLAMA = HAND_ARCHITECTURES["llama"]
KEYS = {"block_count": 1, "embedding_length": N_EMBD, "attention.head_count": N_HEAD}
MODULE_NAMES = [*EVERYWHERE, *" ".join(IN_LAYER.values()).split()]
TENSOR_NAMES = [*IN_LAYER, *IN_EXPERT, "attn_k_b", "attn_v_b", "output", "token_embd"]
HEADER_KEYS = (
    *("block_count", "embedding_length", "attention.head_count", "attention.key_length"),
    *("attention.value_length", "ssm.group_count", "ssm.time_step_rank", "ssm.state_size"),
    "ssm.inner_size",
)


def refused(modules: list[LoraModule] | LoraModule, header: GgufHeader) -> str:
    """Return the sentence by which a plan is refused."""
    given = source(modules if isinstance(modules, list) else [modules])
    with pytest.raises(AdapterError) as caught:
        make_plan(given, header)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_an_architecture_without_rules_is_refused() -> None:
    one = module("model.layers.0.self_attn.q_proj", (N_EMBD, N_EMBD))
    assert "has the architecture 'gptj', which adapters cannot be converted for" in refused(
        one, hand_header("gptj", {}, KEYS)
    )


@pytest.mark.parametrize(("name", "reason"), [("bitnet", "ternary"), ("rwkv7", "mix time")])
def test_an_architecture_with_an_unknown_transform_is_refused(name: str, reason: str) -> None:
    one = module("model.layers.0.self_attn.q_proj", (N_EMBD, N_EMBD))
    assert reason in refused(one, hand_header(name, {}, KEYS))


@pytest.mark.parametrize("has_mrope", [True, False])
def test_glm4_is_refused_only_with_m_rope(has_mrope: bool) -> None:
    keys = {**KEYS, "rope.dimension_sections": 1} if has_mrope else KEYS
    one = module("model.layers.0.self_attn.q_proj", (N_EMBD, N_EMBD))
    header = hand_header("glm4", {"blk.0.attn_q.weight": (N_EMBD, N_EMBD)}, keys)
    if has_mrope:
        assert "M-RoPE" in refused(one, header)
    else:
        assert len(make_plan(source([one]), header).pairs) == 1


@pytest.mark.parametrize(
    "path",
    [
        "model.layers.0.self_attn.rotary",
        "vision_tower.encoder.layer.0.attention.q_proj",
        "transformer.wpe",
        "model.layers.q_proj",
        "model.layers.0.mlp.experts.0.0.up_proj",
    ],
)
def test_an_unknown_module_is_named(path: str) -> None:
    one = module(path, (N_EMBD, N_EMBD))
    text = refused([one, one], LLAMA.header())
    assert f"{path!r} and 1 more module, which is unknown in llama models" in text


def test_rows_in_an_order_that_is_not_known_are_said_to_be() -> None:
    one = module("model.layers.0.self_attn.qkv_proj", (3 * N_EMBD, N_EMBD))
    text = refused(one, hand_header("mimo2", {"blk.0.attn_qkv.weight": (3 * N_EMBD, N_EMBD)}, KEYS))
    assert "a name whose order of rows is not known for mimo2 models" in text


def test_a_layer_beyond_the_base_is_named_and_the_others_are_counted() -> None:
    modules = [module(f"model.layers.{i}.mlp.up_proj", (N_FF, N_EMBD)) for i in range(5)]
    text = refused(modules, LLAMA.header())
    assert "'model.layers.2.mlp.up_proj' and 2 more modules" in text
    assert "has only 2 layers: use the base it was made for." in text


def test_an_absent_tensor_is_named() -> None:
    one = module("model.layers.1.mlp.gate_proj", (N_FF, N_EMBD))
    text = refused(one, HAND_ARCHITECTURES["starcoder2"].header())
    assert "has no tensor 'blk.1.ffn_gate.weight'" in text


def test_wrong_sizes_are_named_with_module_tensor_and_both_shapes() -> None:
    one = module("model.layers.0.self_attn.k_proj", (64, 48))
    text = refused(one, LLAMA.header())
    for part in (one.path, "64 x 48", "blk.0.attn_k.weight", f"needs {N_KV} x {N_EMBD}: use the"):
        assert part in text


def test_a_wrong_number_of_experts_is_named() -> None:
    header = HAND_ARCHITECTURES["qwen3moe"].header()
    whole = module("model.layers.0.mlp.experts.down_proj", (8, N_EMBD, N_EXPERT_FF))
    assert f"8 experts of {N_EMBD} x {N_EXPERT_FF}" in refused(whole, header)
    single = module("model.layers.0.mlp.experts.3.down_proj", (N_EMBD, N_EXPERT_FF))
    assert f"has only {N_EXPERT} experts" in refused(single, header)


def test_experts_whose_parameter_cannot_be_told_are_refused() -> None:
    # Gate and up together are as wide as the model, as in OLMoE.
    shapes = {
        "blk.0.ffn_gate_up_exps.weight": (2, 8, 8),
        "blk.0.ffn_down_exps.weight": (2, 8, 8),
    }
    one = module("model.layers.0.mlp.experts", (2, 8, 8))
    assert "fit gate_up_proj and down_proj alike" in refused(
        one, hand_header("olmoe", shapes, KEYS)
    )


@pytest.mark.parametrize("path", ["model.embed_tokens", "lm_head"])
def test_another_vocabulary_is_said_to_be_one(path: str) -> None:
    kind = ModuleKind.EMBEDDING if path == "model.embed_tokens" else ModuleKind.LINEAR
    one = module(path, (N_VOCAB + 3, N_EMBD), kind=kind)
    text = refused(one, LLAMA.header())
    assert f"a vocabulary of {N_VOCAB + 3} tokens" in text
    assert f"has {N_VOCAB}" in text


@pytest.mark.parametrize("path", ["model.embed_tokens", "lm_head"])
@pytest.mark.parametrize(("architecture", "can_untie"), [("llama", True), ("gemma2", False)])
def test_embeddings_and_heads_of_a_tied_base_need_a_merge(
    path: str, architecture: str, can_untie: bool
) -> None:
    kind = ModuleKind.EMBEDDING if path == "model.embed_tokens" else ModuleKind.LINEAR
    one = module(path, (N_VOCAB, N_EMBD), kind=kind)
    text = refused(one, fused_header(architecture))
    assert ("merge it with 'tui merge'" in text) is can_untie
    assert text.endswith("train it without that.")


def test_for_the_header_of_an_untied_base_embeddings_and_head_are_planned() -> None:
    modules = [
        module("model.embed_tokens", (N_VOCAB, N_EMBD), kind=ModuleKind.EMBEDDING),
        module("lm_head", (N_VOCAB, N_EMBD)),
    ]
    plan = make_plan(source(modules), untied(fused_header("llama")))
    assert [pair.target for pair in plan.pairs] == ["token_embd.weight", "output.weight"]


def test_an_embedding_of_mlx_is_not_parted_from_the_output_it_also_changes() -> None:
    embedding = module("model.embed_tokens", (N_VOCAB, N_EMBD), kind=ModuleKind.EMBEDDING)
    of_mlx = replace(source([embedding]), kind="mlx")
    with pytest.raises(AdapterError, match="MLX also uses as the output"):
        make_plan(of_mlx, untied(fused_header("llama")))
    untouched = replace(source([module("lm_head", (N_VOCAB, N_EMBD))]), kind="mlx")
    assert len(make_plan(untouched, untied(fused_header("llama"))).pairs) == 1


def test_halves_of_different_ranks_are_refused() -> None:
    good = module("model.layers.0.mlp.up_proj", (N_FF, N_EMBD), rank=3)
    a = stored("a", np.zeros((2, N_EMBD), np.float32))
    text = refused(LoraModule(good.path, good.kind, a, good.b, 1.0), LLAMA.header())
    assert "different ranks" in text
    assert f"'a' of 2 x {N_EMBD}" in text


def test_two_modules_of_the_same_rows_are_refused() -> None:
    modules = [
        module("model.layers.0.self_attn.qkv_proj", (N_EMBD + 2 * N_KV, N_EMBD)),
        module("model.layers.0.self_attn.k_proj", (N_KV, N_EMBD)),
    ]
    for base in (LLAMA.header(), fused_header("qwen3")):
        text = refused(modules, base)
        assert re.search(r"qkv_proj' and '.*k_proj', which are the same rows", text)


def test_queries_that_are_no_whole_heads_are_refused() -> None:
    keys = {**KEYS, "attention.head_count": 5}
    header = hand_header("llama", {"blk.0.attn_q.weight": (N_EMBD, N_EMBD)}, keys)
    one = module("model.layers.0.self_attn.q_proj", (N_EMBD, N_EMBD))
    assert "does not divide into its number of heads" in refused(one, header)


def test_a_head_count_that_is_missing_is_asked_for() -> None:
    header = hand_header("llama", {"blk.0.attn_q.weight": (N_EMBD, N_EMBD)}, {"block_count": 1})
    one = module("model.layers.0.self_attn.q_proj", (N_EMBD, N_EMBD))
    assert "lacks llama.attention.head_count" in refused(one, header)


@pytest.mark.parametrize("n_rows", [N_EMBD + 2 * N_KV + 1, HEAD])
def test_rows_of_a_base_that_are_no_whole_heads_are_refused(n_rows: int) -> None:
    shapes = {"blk.0.attn_qkv.weight": (n_rows, N_EMBD)}
    one = module("transformer.h.0.self_attention.query_key_value", (n_rows, N_EMBD))
    assert "does not divide into its number of heads" in refused(
        one, hand_header("falcon", shapes, KEYS)
    )


PATHS = [
    *(f"model.layers.{layer}.{name}" for layer in (0, 1) for name in MODULE_NAMES),
    *("model.embed_tokens", "lm_head", "model.layers.0.mlp.experts", "a" * 5000),
    f"model.layers.0.mlp.experts.{'9' * 5000}.up_proj",
    "model.layers.0.mlp.experts.1.up_proj",
]
SIZES = (0, 1, 2, 3, 4, 6, 8, 12, 15, 16, 24, 48)
COUNTS = (0, 1, 2, 3, 4, 5, 8, 10**9, -1)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_whatever_a_header_says_there_is_a_plan_or_one_sentence(name: str) -> None:
    rng = np.random.default_rng([*name.encode()])

    def some(values: Sequence[int]) -> int:
        return int(rng.choice(values))

    for _ in range(3):
        shapes = {
            full_name(tensor, layer): tuple(some(SIZES) for _ in range(some((1, 2, 2, 2, 3, 3))))
            for layer in (None, 0, 1)
            for tensor in rng.choice(TENSOR_NAMES, 24)
        }
        keys = {key: some(COUNTS) for key in HEADER_KEYS if rng.random() < 0.8}
        header = hand_header(name, shapes, keys)
        for path in rng.choice(PATHS, 25):
            shape = tuple(some(SIZES) for _ in range(some((2, 2, 3))))
            target = rng.choice(list(shapes))
            if rng.random() < 0.6 and len(shapes[target]) in (2, 3):
                shape = shapes[target]
            is_embedding = len(shape) == 2 and rng.random() < 0.1
            one = module(
                str(path),
                shape,
                rank=some((1, 2)),
                kind=ModuleKind.EMBEDDING if is_embedding else None,
            )
            try:
                plan = make_plan(source([one]), header)
            except AdapterError:
                continue
            for pair in plan.pairs:
                a, b = pair.build([1.0])
                assert (a.shape, b.shape) == (pair.a_shape, pair.b_shape)
