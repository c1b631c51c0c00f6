"""Experts that are parameters: PEFT's wrappers become one delta for each expert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.errors import AdapterError
from tests.support.hand_architectures import HAND_ARCHITECTURES
from tests.support.hand_headers import N_EMBD as BASE_N_EMBD
from tests.support.hand_headers import N_EXPERT, N_EXPERT_FF
from tests.support.peft_folders import PREFIX, Array, pair, write_peft

EXPERTS = "model.layers.1.mlp.experts"
N_EXPERTS, RANK, N_EMBD, N_FF = 3, 2, 4, 5
TARGETS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
Doubles = NDArray[np.float64]
GATE_UP = pair(2 * N_FF, N_EMBD, RANK * N_EXPERTS, seed=1)
DOWN = pair(N_EMBD, N_FF, RANK * N_EXPERTS, seed=2)


def source_of(folder: Path, *wrapped: tuple[Array, Array], **config: object) -> LoraSource:
    """Return the adapter with these wrappers, the outermost first; rank 2 and alpha 3."""
    tensors = {
        f"{PREFIX}{EXPERTS}{'.base_layer' * depth}.lora_{part}.weight": values
        for depth, factors in enumerate(wrapped)
        for part, values in zip("AB", factors, strict=True)
    }
    fields = {"target_parameters": TARGETS, **config}
    write_peft(folder, {}, alpha=3, r=RANK, config=fields, tensors=tensors)
    return read_source(folder)


def peft_delta(a: Array, b: Array, rank: int = RANK) -> Doubles:
    """Return (n_experts, n_out, n_in) as `ParamWrapper.get_delta_weight` sums it, unscaled."""
    per_expert_a = a.astype(np.float64).reshape(-1, rank, a.shape[1])
    per_expert_b = b.astype(np.float64).reshape(b.shape[0], rank, -1)
    return np.einsum("ore,eri->eoi", per_expert_b, per_expert_a)


def delta(module: LoraModule) -> Doubles:
    """Return (n_experts, n_out, n_in) without the scale."""
    product: Any = module.b.read().astype(np.float64) @ module.a.read().astype(np.float64)
    return np.asarray(product, np.float64)


def test_the_outer_wrapper_is_that_of_the_last_parameter(tmp_path: Path) -> None:
    down, gate_up = source_of(tmp_path, DOWN, GATE_UP).modules
    assert (down.path, gate_up.path) == (f"{EXPERTS}.down_proj", f"{EXPERTS}.gate_up_proj")
    for module, factors in ((down, DOWN), (gate_up, GATE_UP)):
        assert module.kind is ModuleKind.EXPERTS
        assert (module.scale, module.rank, module.parameters) == (1.5, RANK, ())
        np.testing.assert_array_equal(delta(module), peft_delta(*factors))
    assert (gate_up.a.shape, gate_up.b.shape) == ((3, 2, 4), (3, 10, 2))


def test_shapes_tell_the_parameters_apart_in_any_order(tmp_path: Path) -> None:
    gate_up, down = source_of(tmp_path, GATE_UP, DOWN).modules
    assert (gate_up.path, down.path) == (f"{EXPERTS}.gate_up_proj", f"{EXPERTS}.down_proj")


def test_inputs_that_an_early_peft_took_for_outputs_are_turned_back(tmp_path: Path) -> None:
    exchanged = [
        pair(N_FF, N_EMBD, RANK * N_EXPERTS, seed=1),  # of down (n_embd, n_ff), taken as (in, out)
        pair(N_EMBD, 2 * N_FF, RANK * N_EXPERTS, seed=2),
    ]
    down, gate_up = source_of(tmp_path, *exchanged).modules
    assert (down.path, gate_up.path) == (f"{EXPERTS}.down_proj", f"{EXPERTS}.gate_up_proj")
    assert (gate_up.a.shape, gate_up.b.shape) == ((3, 2, 4), (3, 10, 2))
    for module, factors in zip((down, gate_up), exchanged, strict=True):
        np.testing.assert_array_equal(delta(module), peft_delta(*factors).transpose(0, 2, 1))


def test_a_single_target_is_sure(tmp_path: Path) -> None:
    (module,) = source_of(tmp_path, DOWN, target_parameters=TARGETS[1:]).modules
    assert (module.path, module.parameters) == (f"{EXPERTS}.down_proj", ())


def test_one_wrapper_of_two_targets_leaves_the_choice_to_the_base(tmp_path: Path) -> None:
    (module,) = source_of(tmp_path, DOWN).modules
    assert (module.path, module.parameters) == (EXPERTS, ("down_proj", "gate_up_proj"))


def test_patterns_of_single_parameters_count(tmp_path: Path) -> None:
    gate_up = pair(2 * N_FF, N_EMBD, 1 * N_EXPERTS, seed=1)
    down, other = source_of(
        tmp_path,
        DOWN,
        gate_up,
        rank_pattern={"experts.gate_up_proj": 1},
        alpha_pattern={r".*\.down_proj": 8},
    ).modules
    assert (down.scale, down.rank) == (4.0, 2)
    assert (other.scale, other.rank, other.a.shape) == (3.0, 1, (3, 1, 4))


def test_a_router_that_is_a_parameter_is_a_linear_layer(tmp_path: Path) -> None:
    router = "model.layers.1.mlp.gate"
    a, b = pair(N_EXPERTS, N_EMBD, RANK)
    write_peft(
        tmp_path, {router: (a, b)}, alpha=3, r=RANK, config={"target_parameters": ["gate.weight"]}
    )
    (module,) = read_source(tmp_path).modules
    assert (module.path, module.kind) == (router, ModuleKind.LINEAR)
    np.testing.assert_array_equal(module.a.read(), a)


def test_another_module_is_no_wrapper_because_experts_are(tmp_path: Path) -> None:
    q = "model.layers.0.self_attn.q_proj"
    a, b = pair(6, 4, RANK)
    write_peft(tmp_path, {q: (a, b)}, alpha=3, r=RANK, config={"target_parameters": TARGETS})
    (module,) = read_source(tmp_path).modules
    assert (module.path, module.kind) == (q, ModuleKind.LINEAR)


def test_a_rank_that_leaves_a_part_of_an_expert_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"7 rows .* does not divide into experts"):
        source_of(tmp_path, pair(4, 5, 7))


def test_patterns_that_depend_on_an_unknown_parameter_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="different ranks or alphas"):
        source_of(tmp_path, DOWN, alpha_pattern={"down_proj": 8})


def test_a_wrapper_around_a_linear_layer_is_refused(tmp_path: Path) -> None:
    a, b = pair(6, 4, RANK)
    write_peft(
        tmp_path,
        {"model.layers.0.self_attn.q_proj.base_layer": (a, b)},
        alpha=3,
        r=RANK,
        config={"target_parameters": None},
    )
    with pytest.raises(AdapterError, match=r"wraps 'model\.layers\.0\.self_attn\.q_proj' twice"):
        read_source(tmp_path)


def test_module_lists_of_gpt_oss_in_four_bits(tmp_path: Path) -> None:
    """Each expert's gate and up alternate, as in the parameter that the lists were made of."""
    layer, modules, expected = "model.layers.0.mlp", {}, {}
    for name, n_rows in (("gate", N_EXPERT_FF), ("up", N_EXPERT_FF), ("down", BASE_N_EMBD)):
        n_in = N_EXPERT_FF if name == "down" else BASE_N_EMBD
        expected[name] = np.zeros((N_EXPERT, n_rows, n_in))
    for expert in range(N_EXPERT):
        a, b = pair(2 * N_EXPERT_FF, BASE_N_EMBD, 2, seed=expert)
        modules[f"{layer}.experts.gate_up_projs.{expert}"] = (a, b)
        expected["gate"][expert], expected["up"][expert] = b[0::2] @ a, b[1::2] @ a
        a, b = pair(BASE_N_EMBD, N_EXPERT_FF, 2, seed=100 + expert)
        modules[f"{layer}.experts.down_projs.{expert}"] = (a, b)
        expected["down"][expert] = b @ a
    source = read_source(write_peft(tmp_path, modules, alpha=2, r=2))
    plan = make_plan(source, HAND_ARCHITECTURES["gpt-oss"].header())
    found = {}
    for planned in plan.pairs:
        planned_a, planned_b = planned.build([1.0] * len(planned.members))
        found[planned.target] = planned_b @ planned_a
    assert found.keys() == {f"blk.0.ffn_{name}_exps.weight" for name in expected}
    for name, delta in expected.items():
        np.testing.assert_array_equal(found[f"blk.0.ffn_{name}_exps.weight"], delta)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 2, 4), (3, 5, 2)), ((3, 2, 4), (3, 5, 4)), ((3, 4, 4), (3, 5, 4))]
)
def test_factors_of_all_experts_that_do_not_fit(
    tmp_path: Path, a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    name = f"{PREFIX}{EXPERTS}.w1.lora_"
    tensors = {f"{name}A.weight": np.zeros(a), f"{name}B.weight": np.zeros(b)}
    write_peft(tmp_path, {}, alpha=3, r=RANK, tensors=tensors)
    with pytest.raises(AdapterError, match="do not fit each other or the rank 2"):
        read_source(tmp_path)
