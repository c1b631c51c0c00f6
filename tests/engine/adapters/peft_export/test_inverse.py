"""Pairs of tensors turned back into the modules of transformers that they were made of."""

import numpy as np
import pytest

from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.adapters.peft_export.inverse import PeftModule, joined, peft_modules
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from tests.support.hand_architectures import HAND_ARCHITECTURES, LATENT, NOPE, VALUE
from tests.support.hand_headers import (
    N_EMBD,
    N_EXPERT,
    N_EXPERT_FF,
    N_HEAD,
    N_KV,
    N_LAYER,
    N_VOCAB,
    HandArchitecture,
    hand_header,
    module,
    source,
)

LLAMA = HAND_ARCHITECTURES["llama"]
KEYS = {"block_count": 1, "embedding_length": N_EMBD, "attention.head_count": N_HEAD}


def there_and_back(modules: list[LoraModule], header: GgufHeader) -> dict[str, PeftModule]:
    """Plan the modules, build their pairs, and turn all of them back."""
    back = []
    for pair in make_plan(source(modules), header).pairs:
        a, b = pair.build([1.0] * len(pair.members))
        if pair.target == "token_embd.weight":
            a, b = b.T, a
        back += peft_modules(pair.target, a, b, header)
    return {one.path: one for one in joined(back)}


def require_same(back: dict[str, PeftModule], modules: list[LoraModule]) -> None:
    """Fail unless every module came back with its name, its kind and its very numbers."""
    assert set(back) == {one.path for one in modules}
    for one in modules:
        found = back[one.path]
        assert found.kind is one.kind
        assert np.array_equal(found.a, one.a.read()), one.path
        assert np.array_equal(found.b, one.b.read()), one.path
        assert found.a.flags.c_contiguous
        assert found.b.flags.c_contiguous


def modules_of(hand: HandArchitecture, rank: int, seed: int) -> list[LoraModule]:
    inside = [
        module(f"{hand.layers}.{layer}.{name}", shape, rank=rank + at % 3, seed=seed)
        for layer in range(N_LAYER)
        for at, (name, shape) in enumerate(hand.modules.items())
    ]
    table = (N_VOCAB, N_EMBD)
    embedding = module(hand.embedding, table, rank=rank, seed=seed, kind=ModuleKind.EMBEDDING)
    return [*inside, embedding, module(hand.head, table, rank=rank, seed=seed)]


@pytest.mark.parametrize("name", HAND_ARCHITECTURES)
@pytest.mark.parametrize(("rank", "seed"), [(1, 1), (4, 2)])
def test_what_was_planned_comes_back_bit_for_bit(name: str, rank: int, seed: int) -> None:
    hand = HAND_ARCHITECTURES[name]
    modules = modules_of(hand, rank, seed)
    require_same(there_and_back(modules, hand.header()), modules)


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_a_fused_tensor_comes_back_as_the_modules_that_transformers_has(architecture: str) -> None:
    shapes = {"blk.0.attn_qkv.weight": (N_EMBD + 2 * N_KV, N_EMBD)}
    header = hand_header(architecture, shapes, KEYS)
    rows = {"q_proj": N_EMBD, "k_proj": N_KV, "v_proj": N_KV}
    modules = [
        module(f"model.layers.0.self_attn.{name}", (n_rows, N_EMBD))
        for name, n_rows in rows.items()
    ]
    require_same(there_and_back(modules, header), modules)
    # What the pair does not change comes back as a delta of zero.
    back = there_and_back(modules[2:], header)
    assert back[modules[0].path].a.shape == (1, N_EMBD)
    assert not back[modules[0].path].b.any()


def test_experts_of_single_modules_come_back_as_parameters() -> None:
    hand = HAND_ARCHITECTURES["mixtral"]
    path = "model.layers.0.block_sparse_moe.experts"
    one = module(f"{path}.1.w2", (N_EMBD, N_EXPERT_FF))
    (back,) = there_and_back([one], hand.header()).values()
    assert back.path == "model.layers.0.mlp.experts.down_proj"
    assert back.kind is ModuleKind.EXPERTS
    assert back.a.shape == (N_EXPERT, 2, N_EXPERT_FF)
    assert np.array_equal(back.b[1] @ back.a[1], one.b.read() @ one.a.read())
    assert not back.b[[0, 2]].any()


def test_gate_and_up_in_one_tensor_come_back_as_one_parameter() -> None:
    shape = (N_EXPERT, 2 * N_EXPERT_FF, N_EMBD)
    header = hand_header("qwen3moe", {"blk.0.ffn_gate_up_exps.weight": shape}, KEYS)
    one = module("model.layers.0.mlp.experts.gate_up_proj", shape)
    require_same(there_and_back([one], header), [one])


def test_experts_without_a_gate_come_back_as_parameters() -> None:
    shapes = {
        "blk.0.ffn_up_exps.weight": (N_EXPERT, N_EXPERT_FF, N_EMBD),
        "blk.0.ffn_down_exps.weight": (N_EXPERT, N_EMBD, N_EXPERT_FF),
    }
    modules = [
        module(f"model.layers.0.mixer.experts.{name}", shape)
        for name, shape in zip(("up_proj", "down_proj"), shapes.values(), strict=True)
    ]
    require_same(there_and_back(modules, hand_header("nemotron_h_moe", shapes, KEYS)), modules)


def test_a_router_comes_back_as_a_parameter_of_one_expert() -> None:
    header = hand_header("qwen3moe", {"blk.0.ffn_gate_inp.weight": (N_EXPERT, N_EMBD)}, KEYS)
    one = module("model.layers.0.mlp.gate.weight", (1, N_EXPERT, N_EMBD))
    require_same(there_and_back([one], header), [one])


def test_parts_of_one_module_with_different_factors_come_side_by_side() -> None:
    # As in a fused stack of two adapters, one of which has gate only.
    path = "model.layers.0.mlp.experts.gate_up_proj"
    kind = ModuleKind.EXPERTS
    a = np.ones((N_EXPERT, 2, N_EMBD), np.float32)
    b = np.ones((N_EXPERT, 2 * N_EXPERT_FF, 2), np.float32)
    (one,) = joined([PeftModule(path, kind, a, b), PeftModule(path, kind, 2 * a, 3 * b)])
    assert one.a.shape == (N_EXPERT, 4, N_EMBD)
    assert np.array_equal(one.b @ one.a, b @ a + 6 * (b @ a))
    (same,) = joined([PeftModule(path, kind, a, b), PeftModule(path, kind, a, 3 * b)])
    assert same.a.shape == (N_EXPERT, 2, N_EMBD)
    assert np.array_equal(same.b, 4 * b)


def test_rows_that_no_module_makes_cannot_be_turned_back() -> None:
    # A fused base of Starcoder2, whose naming has only q, k and v: the last row is of none.
    shapes = {"blk.0.attn_qkv.weight": (N_EMBD + 2 * N_KV + 1, N_EMBD)}
    header = hand_header("starcoder2", shapes, KEYS)
    a, b = np.ones((1, N_EMBD), "f4"), np.ones((N_EMBD + 2 * N_KV + 1, 1), "f4")
    with pytest.raises(AdapterError, match="Rows of the tensor 'blk"):
        peft_modules("blk.0.attn_qkv.weight", a, b, header)
    b[-1] = 0
    assert len(peft_modules("blk.0.attn_qkv.weight", a, b, header)) == 3


def test_factors_may_have_one_expert_where_the_tensor_is_a_matrix() -> None:
    header = LLAMA.header()
    a, b = np.ones((1, 2, N_EMBD), "f4"), np.ones((1, N_KV, 2), "f4")
    (back,) = peft_modules("blk.1.attn_v.weight", a, b, header)
    assert back.path == "model.layers.1.self_attn.v_proj"
    assert (back.a.shape, back.b.shape) == ((2, N_EMBD), (N_KV, 2))


def test_latent_attention_whose_heads_differ_cannot_be_turned_back() -> None:
    header = HAND_ARCHITECTURES["deepseek2"].header()
    rng = np.random.default_rng(0)
    a = rng.standard_normal((N_HEAD, 2, NOPE), np.float32)
    b = rng.standard_normal((N_HEAD, LATENT, 2), np.float32)
    with pytest.raises(AdapterError, match="no longer share one factor"):
        peft_modules("blk.0.attn_k_b.weight", a, b, header)
    a = rng.standard_normal((N_HEAD, 2, LATENT), np.float32)
    b = rng.standard_normal((N_HEAD, VALUE, 2), np.float32)
    with pytest.raises(AdapterError, match="no longer share one factor"):
        peft_modules("blk.0.attn_v_b.weight", a, b, header)


@pytest.mark.parametrize(
    ("architecture", "target"),
    [
        ("orion", "blk.0.attn_q.weight"),  # its names in transformers were not verified
        ("llama", "blk.0.ssm_in.weight"),  # no Llama has such a module
    ],
)
def test_what_has_no_name_in_transformers_is_refused(architecture: str, target: str) -> None:
    header = hand_header(architecture, {target: (8, 8)}, KEYS)
    factors = np.ones((1, 8), "f4"), np.ones((8, 1), "f4")
    with pytest.raises(AdapterError, match="cannot be turned back") as caught:
        peft_modules(target, *factors, header)
    assert repr(target) in str(caught.value)


def test_a_tensor_that_the_base_has_not_is_refused() -> None:
    factors = np.ones((1, 8), "f4"), np.ones((8, 1), "f4")
    with pytest.raises(AdapterError, match=r"'blk\.9\.attn_q\.weight'"):
        peft_modules("blk.9.attn_q.weight", *factors, LLAMA.header())
