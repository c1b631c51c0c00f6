"""What becomes of an adapter's modules on a base: deltas against llama.cpp's own transforms."""

import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.conversion.placement.plan import Plan
from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.gguf.header import read_header
from tests.support.hand_architectures import HAND_ARCHITECTURES
from tests.support.hand_headers import (
    N_EMBD,
    N_EXPERT,
    N_EXPERT_FF,
    N_FF,
    N_HEAD,
    N_HEAD_KV,
    N_KV,
    N_LAYER,
    N_VOCAB,
    Floats,
    HandArchitecture,
    fused_header,
    hand_header,
    module,
    source,
    stored,
    weight_delta,
)
from tests.support.row_loops import parts_apart, permuted

LLAMA = HAND_ARCHITECTURES["llama"]
QWEN3 = HAND_ARCHITECTURES["qwen3"]
KEYS = {"block_count": 1, "embedding_length": N_EMBD, "attention.head_count": N_HEAD}


def deltas(plan: Plan, scales: Mapping[str, float] | None = None) -> dict[str, Floats]:
    """Return what each pair adds to its tensor, and check what it promises."""
    result = {}
    for pair in plan.pairs:
        a, b = pair.build([(scales or {}).get(m.path, 1.0) for m in pair.members])
        assert (a.shape, b.shape, a.dtype, b.dtype) == (pair.a_shape, pair.b_shape, "f4", "f4")
        assert b.shape[-1] == pair.rank
        assert a.flags.c_contiguous
        assert b.flags.c_contiguous
        result[pair.target] = a @ b.T if pair.target == "token_embd.weight" else b @ a
    return result


def all_modules(hand: HandArchitecture) -> list[LoraModule]:
    """Return a pair for every module of every layer, of different ranks."""
    return [
        module(f"{hand.layers}.{layer}.{name}", shape, rank=2 + at % 3)
        for layer in range(N_LAYER)
        for at, (name, shape) in enumerate(hand.modules.items())
    ]


@pytest.mark.parametrize("name", HAND_ARCHITECTURES)
def test_deltas_of_tensors_are_the_converted_deltas_of_modules(name: str) -> None:
    hand = HAND_ARCHITECTURES[name]
    modules = all_modules(hand)
    expected = {}
    for layer in range(N_LAYER):
        prefix = f"{hand.layers}.{layer}."
        weights = {
            m.path.removeprefix(prefix): weight_delta(m) for m in modules if prefix in m.path
        }
        for tensor, weight in hand.convert(weights).items():
            expected[f"blk.{layer}.{tensor}.weight"] = weight
    plan = make_plan(source(modules), hand.header())
    found = deltas(plan)
    assert list(found) == list(expected) or set(found) == set(expected)
    for target, weight in expected.items():
        assert np.array_equal(found[target], weight), target


def test_nothing_is_read_before_a_pair_is_built() -> None:
    reads: list[str] = []

    def unread(name: str, shape: tuple[int, ...]) -> StoredTensor:
        def read() -> Floats:
            reads.append(name)
            return np.ones(shape, np.float32)

        return StoredTensor(name, shape, "f32", read)

    one = LoraModule(
        "model.layers.0.self_attn.q_proj",
        ModuleKind.LINEAR,
        unread("a", (2, N_EMBD)),
        unread("b", (N_EMBD, 2)),
        1.0,
    )
    plan = make_plan(source([one]), LLAMA.header())
    assert not reads
    plan.pairs[0].build([1.0])
    assert reads == ["a", "b"]


def test_a_factor_is_multiplied_into_b_once_and_one_leaves_every_bit_alone() -> None:
    one = module("model.layers.0.self_attn.v_proj", (N_KV, N_EMBD))
    rough = np.float32(1) / np.arange(1, 1 + N_KV * 2, dtype=np.float32).reshape(N_KV, 2)
    one = LoraModule(one.path, one.kind, one.a, stored("b", rough), 1.0)
    (pair,) = make_plan(source([one]), LLAMA.header()).pairs
    a, b = pair.build([1.0])
    assert np.array_equal(b, rough)
    a_scaled, b_scaled = pair.build([1 / 3])
    assert np.array_equal(a, a_scaled)
    assert np.array_equal(b_scaled, (rough.astype(np.float64) * (1 / 3)).astype(np.float32))


def test_keys_are_ordered_by_the_heads_that_the_tensors_have() -> None:
    # Some bases say a wrong head_count_kv: sizes of the tensors decide.
    header = HAND_ARCHITECTURES["llama"].header()
    lying = hand_header(
        "llama",
        {name: info.shape[::-1] for name, info in header.tensors.items()},
        {**KEYS, "block_count": N_LAYER, "attention.head_count_kv": 2},
    )
    one = module("model.layers.1.self_attn.k_proj", (N_KV, N_EMBD))
    found = deltas(make_plan(source([one]), lying))["blk.1.attn_k.weight"]
    assert np.array_equal(found, permuted(weight_delta(one), N_HEAD_KV))


def test_head_counts_may_be_given_layer_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(path, "deci")
    writer.add_block_count(2)
    writer.add_embedding_length(N_EMBD)
    writer.add_head_count([2, 6])
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.zeros((N_EMBD, N_EMBD), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    modules = [module(f"model.layers.{i}.self_attn.q_proj", (N_EMBD, N_EMBD)) for i in range(2)]
    found = deltas(make_plan(source(modules), read_header(path)))
    for layer, n_heads in enumerate((2, 6)):
        expected = permuted(weight_delta(modules[layer]), n_heads)
        assert np.array_equal(found[f"blk.{layer}.attn_q.weight"], expected)


@pytest.mark.parametrize(
    ("architecture", "path", "target"),
    [
        ("llama", "model.layers.0.block_sparse_moe.gate", "blk.0.ffn_gate_inp.weight"),
        ("step35", "model.layers.0.moe.gate", "blk.0.ffn_gate_inp.weight"),
        ("gemma4", "model.per_layer_model_projection", "per_layer_model_proj.weight"),
        ("kimi-k3", "model.layers.0.self_attn.g_proj", "blk.0.ssm_g.weight"),
        ("laguna", "model.layers.0.self_attn.g_proj", "blk.0.attn_gate.weight"),
        ("nemotron_h", "backbone.layers.0.mixer.out_proj", "blk.0.ssm_out.weight"),
        ("jamba", "model.layers.0.mamba.x_proj", "blk.0.ssm_x.weight"),
        ("qwen3next", "model.layers.0.linear_attn.in_proj_qkvz", "blk.0.ssm_in.weight"),
    ],
)
def test_a_module_becomes_the_tensor_that_the_base_has(
    architecture: str, path: str, target: str
) -> None:
    one = module(path, (12, 8))
    found = deltas(make_plan(source([one]), hand_header(architecture, {target: (12, 8)}, KEYS)))
    assert list(found) == [target]
    assert np.array_equal(found[target], weight_delta(one))


def test_openelm_has_gate_and_up_in_one_module() -> None:
    shapes = {"blk.0.ffn_gate.weight": (6, 8), "blk.0.ffn_up.weight": (6, 8)}
    one = module("transformer.layers.0.ffn.proj_1", (12, 8))
    found = deltas(make_plan(source([one]), hand_header("openelm", shapes, KEYS)))
    assert np.array_equal(np.concatenate(list(found.values())), weight_delta(one))
    assert list(found) == list(shapes)


QKV = {
    "q_proj": (N_EMBD, N_EMBD),
    "k_proj": (N_KV, N_EMBD),
    "v_proj": (N_KV, N_EMBD),
}


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
@pytest.mark.parametrize("adapted", [("q_proj", "k_proj", "v_proj"), ("v_proj",), ("k_proj",)])
def test_q_k_v_become_one_pair_where_the_base_has_one_tensor(
    architecture: str, adapted: tuple[str, ...]
) -> None:
    modules = {
        name: module(f"model.layers.0.self_attn.{name}", QKV[name], rank=2 + i)
        for i, name in enumerate(adapted)
    }
    plan = make_plan(source(modules.values()), fused_header(architecture))
    (pair,) = plan.pairs
    assert pair.members == tuple(modules.values())
    assert pair.rank == sum(one.rank for one in modules.values())
    scales = {one.path: 2.0 + i for i, one in enumerate(modules.values())}
    parts = []
    for name, shape in QKV.items():
        part = np.zeros(shape, np.float32)
        if name in modules:
            part = weight_delta(modules[name]) * np.float32(scales[modules[name].path])
        if architecture == "llama" and name != "v_proj":
            part = permuted(part, N_HEAD if name == "q_proj" else N_HEAD_KV)
        parts.append(part)
    found = deltas(plan, scales)["blk.0.attn_qkv.weight"]
    assert np.array_equal(found, np.concatenate(parts))


def test_a_fused_module_is_ordered_for_a_fused_tensor() -> None:
    one = module("model.layers.0.self_attn.qkv_proj", (N_EMBD + 2 * N_KV, N_EMBD))
    q, k, v = np.split(weight_delta(one), [N_EMBD, N_EMBD + N_KV])
    plan = make_plan(source([one]), fused_header("llama"))
    assert [pair.rank for pair in plan.pairs] == [2]
    expected = np.concatenate([permuted(q, N_HEAD), permuted(k, N_HEAD_KV), v])
    assert np.array_equal(deltas(plan)["blk.0.attn_qkv.weight"], expected)


@pytest.mark.parametrize(
    ("key_size", "value_size", "said"),
    [
        (8, 8, {"attention.key_length": 16, "attention.value_length": 16}),  # a sliding window's
        (8, 4, {"attention.key_length": 8, "attention.value_length": 4}),
        (4, 4, {}),
    ],
)
def test_sizes_of_heads_in_a_fused_tensor_are_those_of_the_output(
    key_size: int, value_size: int, said: dict[str, int]
) -> None:
    n_rows = {
        "q_proj": N_HEAD * key_size,
        "k_proj": N_HEAD_KV * key_size,
        "v_proj": N_HEAD_KV * value_size,
    }
    shapes = {
        "blk.0.attn_qkv.weight": (sum(n_rows.values()), N_EMBD),
        "blk.0.attn_output.weight": (N_EMBD, N_HEAD * value_size),
    }
    modules = [module(f"model.layers.0.self_attn.{n}", (r, N_EMBD)) for n, r in n_rows.items()]
    found = deltas(make_plan(source(modules), hand_header("qwen3", shapes, {**KEYS, **said})))
    expected = np.concatenate([weight_delta(one) for one in modules])
    assert np.array_equal(found["blk.0.attn_qkv.weight"], expected)


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_a_fused_module_becomes_three_pairs_where_the_base_has_three_tensors(
    architecture: str,
) -> None:
    shapes = {f"blk.0.attn_{name[0]}.weight": shape for name, shape in QKV.items()}
    one = module("model.layers.0.self_attn.qkv_proj", (N_EMBD + 2 * N_KV, N_EMBD))
    plan = make_plan(source([one]), hand_header(architecture, shapes, KEYS))
    assert [pair.rank for pair in plan.pairs] == [2, 2, 2]
    q, k, v = np.split(weight_delta(one), [N_EMBD, N_EMBD + N_KV])
    if architecture == "llama":
        q, k = permuted(q, N_HEAD), permuted(k, N_HEAD_KV)
    found = deltas(plan)
    for name, expected in (("q", q), ("k", k), ("v", v)):
        assert np.array_equal(found[f"blk.0.attn_{name}.weight"], expected)


@pytest.mark.parametrize("has_gate", [True, False])
def test_gate_up_is_split_where_the_base_has_a_gate(has_gate: bool) -> None:
    shapes = {"blk.0.ffn_up.weight": (N_FF if has_gate else 2 * N_FF, N_EMBD)}
    if has_gate:
        shapes["blk.0.ffn_gate.weight"] = (N_FF, N_EMBD)
    one = module("model.layers.0.mlp.gate_up_proj", (2 * N_FF, N_EMBD))
    found = deltas(make_plan(source([one]), hand_header("phi3", shapes, KEYS)))
    order = ("gate", "up") if has_gate else ("up",)
    whole = np.concatenate([found[f"blk.0.ffn_{name}.weight"] for name in order])
    assert np.array_equal(whole, weight_delta(one))


GATED = {"blk.0.ffn_up.weight": (2 * N_FF, N_EMBD), "blk.0.ffn_down.weight": (N_EMBD, N_FF)}
HALVES = {"gate_proj": slice(N_FF), "up_proj": slice(N_FF, None)}


@pytest.mark.parametrize("architecture", ["phi3", "glm4", "chatglm", "plamo2", "plamo3"])
@pytest.mark.parametrize("adapted", [("up_proj", "gate_proj"), ("gate_proj",), ("up_proj",)])
def test_gate_and_up_become_one_pair_where_the_base_has_one_tensor(
    architecture: str, adapted: tuple[str, ...]
) -> None:
    modules = [
        module(f"model.layers.0.mlp.{name}", (N_FF, N_EMBD), rank=2 + i)
        for i, name in enumerate(adapted)
    ]
    plan = make_plan(source(modules), hand_header(architecture, GATED, KEYS))
    (pair,) = plan.pairs
    assert pair.rank == sum(one.rank for one in modules)
    expected = np.zeros((2 * N_FF, N_EMBD), np.float32)
    scales = {one.path: 2.0 + i for i, one in enumerate(modules)}
    for name, one in zip(adapted, modules, strict=True):
        expected[HALVES[name]] = weight_delta(one) * np.float32(scales[one.path])
    assert np.array_equal(deltas(plan, scales)["blk.0.ffn_up.weight"], expected)


@pytest.mark.parametrize(
    ("architecture", "path"),
    [
        *((name, "model.layers.0.mlp.gate_up_proj") for name in ("phi3", "glm4", "chatglm")),
        ("chatglm", "transformer.encoder.layers.0.mlp.dense_h_to_4h"),
    ],
)
@pytest.mark.parametrize("has_gate", [False, True])
def test_a_module_of_gate_and_up_keeps_its_rank_on_either_base(
    architecture: str, path: str, has_gate: bool
) -> None:
    shapes = GATED
    if has_gate:
        names = "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"
        shapes = {**GATED, **dict.fromkeys(names, (N_FF, N_EMBD))}
    one = module(path, (2 * N_FF, N_EMBD))
    plan = make_plan(source([one]), hand_header(architecture, shapes, KEYS))
    assert {pair.rank for pair in plan.pairs} == {one.rank}
    found = deltas(plan)
    order = ("gate", "up") if has_gate else ("up",)
    whole = np.concatenate([found[f"blk.0.ffn_{name}.weight"] for name in order])
    assert np.array_equal(whole, weight_delta(one))


@pytest.mark.parametrize(
    ("fused", "tensor", "parts"),
    [
        ("in_proj_qkvz", "ssm_in", {"in_proj_qkv": slice(-18), "in_proj_z": slice(-18, None)}),
        ("in_proj_ba", "ssm_ba", {"in_proj_b": slice(6), "in_proj_a": slice(6, None)}),
    ],
)
def test_parts_of_linear_attention_go_between_the_rows_of_one_another(
    fused: str, tensor: str, parts: dict[str, slice]
) -> None:
    hand = HAND_ARCHITECTURES["qwen3next"]
    shape = hand.modules[f"linear_attn.{fused}"]
    header = hand_header("qwen3next", {f"blk.0.{tensor}.weight": shape}, {**KEYS, **hand.keys})
    whole = np.arange(shape[0] * N_EMBD, dtype=np.float32).reshape(shape)
    per_key = (4, 4, 9, 9) if fused == "in_proj_qkvz" else (3, 3)
    apart = np.concatenate(parts_apart(whole, 2, per_key))
    unit = np.eye(N_EMBD, dtype=np.float32)
    modules = [
        LoraModule(
            f"model.layers.0.linear_attn.{name}",
            ModuleKind.LINEAR,
            stored("a", unit),
            stored("b", apart[rows]),
            1.0,
        )
        for name, rows in parts.items()
    ]
    assert np.array_equal(
        deltas(make_plan(source(modules), header))[f"blk.0.{tensor}.weight"], whole
    )


def test_experts_become_one_pair_where_the_base_has_gate_and_up_in_one_tensor() -> None:
    shapes = {
        "blk.0.ffn_gate_up_exps.weight": (N_EXPERT, 2 * N_EXPERT_FF, N_EMBD),
        "blk.0.ffn_down_exps.weight": (N_EXPERT, N_EMBD, N_EXPERT_FF),
    }
    header = hand_header("qwen3moe", shapes, KEYS)
    whole = module(
        "model.layers.0.mlp.experts.gate_up_proj", shapes["blk.0.ffn_gate_up_exps.weight"]
    )
    found = deltas(make_plan(source([whole]), header))["blk.0.ffn_gate_up_exps.weight"]
    assert np.array_equal(found, weight_delta(whole))
    # The same of gate and up apart, of which one expert has no pair.
    halves = [
        module(f"model.layers.0.mlp.experts.{i}.{name}", (N_EXPERT_FF, N_EMBD), rank=2 + i)
        for i in (0, 2)
        for name in ("up_proj", "gate_proj")
    ]
    (pair,) = make_plan(source(halves), header).pairs
    assert pair.rank == 8
    expected = np.zeros((N_EXPERT, 2 * N_EXPERT_FF, N_EMBD), np.float32)
    for at, one in zip((0, 0, 2, 2), halves, strict=True):
        rows = slice(N_EXPERT_FF, None) if "up_proj" in one.path else slice(N_EXPERT_FF)
        expected[at, rows] = weight_delta(one)
    assert np.array_equal(deltas(make_plan(source(halves), header))[pair.target], expected)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("model.layers.0.block_sparse_moe.experts", ("w1", "w3", "w2")),
        ("model.layers.0.mlp.experts", ("gate_proj", "up_proj", "down_proj")),
    ],
)
def test_modules_of_single_experts_are_stacked_and_missing_ones_are_zero(
    path: str, names: tuple[str, str, str]
) -> None:
    mixtral = HAND_ARCHITECTURES["mixtral"]
    targets = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
    modules = []
    expected = {}
    for name, target in zip(names, targets, strict=True):
        shape = mixtral.tensors[target]
        delta = np.zeros(shape, np.float32)
        for expert in (2, 0):
            one = module(f"{path}.{expert}.{name}", shape[1:], rank=1 + expert, seed=expert)
            modules.append(one)
            delta[expert] = weight_delta(one)
        expected[f"blk.0.{target}.weight"] = delta
    plan = make_plan(source(modules), mixtral.header())
    assert [pair.rank for pair in plan.pairs] == [3, 3, 3]
    found = deltas(plan)
    for target, delta in expected.items():
        assert np.array_equal(found[target], delta)


def test_a_plan_of_many_experts_takes_little_memory() -> None:
    n_experts, n_rows = 64, 32_768

    def unread() -> Floats:
        raise AssertionError

    a = StoredTensor("a", (1, N_EMBD), "f32", unread)
    b = StoredTensor("b", (n_rows, 1), "f32", unread)
    modules = [
        LoraModule(f"model.layers.0.mlp.experts.{i}.up_proj", ModuleKind.LINEAR, a, b, 1.0)
        for i in range(n_experts)
    ]
    shapes = {"blk.0.ffn_up_exps.weight": (n_experts, n_rows, N_EMBD)}
    header = hand_header("qwen3moe", shapes, KEYS)
    tracemalloc.start()
    try:
        plan = make_plan(source(modules), header)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plan.pairs) == 1
    # The order of the rows alone is 8 bytes a row: 0.3 MB where experts share it, else 17 MB.
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize("name", ["gate_up_proj", "down_proj"])
@pytest.mark.parametrize("is_swapped", [False, True])
def test_an_unnamed_parameter_of_experts_is_told_by_its_shape(name: str, is_swapped: bool) -> None:
    # PEFT before 0.19 wrote parameters that are stored (n_experts, n_out, n_in) the other way.
    hand = HAND_ARCHITECTURES["qwen3moe"]
    shape = hand.modules[f"mlp.experts.{name}"]
    stored_shape = (shape[0], shape[2], shape[1]) if is_swapped else shape
    parameters = ("gate_up_proj", "down_proj")
    one = module("model.layers.0.mlp.experts", stored_shape, parameters=parameters)
    named = module("model.layers.0.mlp.experts", stored_shape)
    delta = weight_delta(one).swapaxes(1, 2) if is_swapped else weight_delta(one)
    for given in (one, named):
        found = deltas(make_plan(source([given]), hand.header()))
        if name == "down_proj":
            assert np.array_equal(found["blk.0.ffn_down_exps.weight"], delta)
        else:
            gate, up = found["blk.0.ffn_gate_exps.weight"], found["blk.0.ffn_up_exps.weight"]
            assert np.array_equal(np.concatenate([gate, up], axis=1), delta)


def test_a_parameter_that_fits_as_it_stands_is_chosen_before_one_that_fits_exchanged() -> None:
    shapes = {
        "blk.0.ffn_up_exps.weight": (N_EXPERT, N_EXPERT_FF, N_EMBD),
        "blk.0.ffn_down_exps.weight": (N_EXPERT, N_EMBD, N_EXPERT_FF),
    }
    header = hand_header("nemotron_h_moe", shapes, KEYS)
    for target, shape in shapes.items():
        one = module("backbone.layers.0.mixer.experts", shape, parameters=("up_proj", "down_proj"))
        found = deltas(make_plan(source([one]), header))
        assert np.array_equal(found[target], weight_delta(one))


def test_a_router_that_is_a_parameter_is_one_matrix() -> None:
    shapes = {"blk.0.ffn_gate_inp.weight": (N_EXPERT, N_EMBD)}
    one = module("model.layers.0.mlp.gate.weight", (1, N_EXPERT, N_EMBD))
    found = deltas(make_plan(source([one]), hand_header("qwen3moe", shapes, KEYS)))
    assert np.array_equal(found["blk.0.ffn_gate_inp.weight"], weight_delta(one)[0])


def test_latent_attention_stays_one_module_where_the_base_keeps_kv_b() -> None:
    shapes = {"blk.0.attn_kv_b.weight": (30, 9)}
    one = module("model.layers.0.self_attn.kv_b_proj", (30, 9))
    found = deltas(make_plan(source([one]), hand_header("deepseek2", shapes, KEYS)))
    assert np.array_equal(found["blk.0.attn_kv_b.weight"], weight_delta(one))


def test_a_factor_reaches_both_halves_of_latent_attention() -> None:
    hand = HAND_ARCHITECTURES["deepseek2"]
    one = module("model.layers.0.self_attn.kv_b_proj", hand.modules["self_attn.kv_b_proj"])
    plan = make_plan(source([one]), hand.header())
    plain, tripled = deltas(plan), deltas(plan, {one.path: 3.0})
    assert set(plain) == {"blk.0.attn_k_b.weight", "blk.0.attn_v_b.weight"}
    for target, delta in plain.items():
        assert delta.any()
        assert np.array_equal(tripled[target], 3 * delta)


def test_embeddings_are_flipped_and_heads_are_not() -> None:
    embedding = module("model.embed_tokens", (N_VOCAB, N_EMBD), rank=3, kind=ModuleKind.EMBEDDING)
    head = module("lm_head", (N_VOCAB, N_EMBD))
    plan = make_plan(source([embedding, head]), LLAMA.header())
    flipped, straight = plan.pairs
    assert (flipped.a_shape, flipped.b_shape) == ((N_VOCAB, 3), (N_EMBD, 3))
    found = deltas(plan)
    assert np.array_equal(found["token_embd.weight"], weight_delta(embedding))
    assert np.array_equal(found[straight.target], weight_delta(head))


@pytest.mark.parametrize(
    "prefix",
    ["model.layers", "layers", "model.language_model.layers", "language_model.model.layers"],
)
def test_text_parts_of_wrapped_models_have_the_names_of_plain_ones(prefix: str) -> None:
    one = module(f"{prefix}.1.mlp.down_proj", (N_EMBD, N_FF))
    assert set(deltas(make_plan(source([one]), QWEN3.header()))) == {"blk.1.ffn_down.weight"}


def test_an_empty_adapter_has_an_empty_plan() -> None:
    assert make_plan(LoraSource(Path("x"), (), "peft", (), ""), LLAMA.header()) == Plan(())
