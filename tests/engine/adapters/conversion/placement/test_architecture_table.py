"""The table of architectures against what llama.cpp's converter did with marked pairs.

`converter_names.json` holds, for modules by their usual names, the GGUF tensors that the classes of
llama.cpp's `conversion/` gave for each architecture, and what happened to the rows: `id` nothing,
`rowperm` the order of q and k for rotary embeddings, `split` rows were cut. The names are those of
Llama for all of them, so an architecture may not have such modules at all.
"""

import json

import pytest

from engine.adapters.conversion.placement.architectures import ARCHITECTURES, Rows
from engine.adapters.conversion.placement.base_model import BaseModel
from engine.adapters.conversion.placement.layout import address_of, rules_of
from engine.adapters.peft_export.namings import NAMINGS
from tests.support.hand_headers import hand_header
from tests.support.places import CONVERSION_DATA

GROUPS = json.loads((CONVERSION_DATA / "converter_names.json").read_text())
CONVERTER = {name: group["modules"] for group in GROUPS for name in group["architectures"]}

# Where the table says something else than the converter did.
SPLIT_BY_BASE = {"mlp.gate_up_proj", "self_attn.qkv_proj"}  # it takes what the base really has
NO_SUCH_MODULES = {
    # The converter was fed names that these models do not have, and renamed what it does not know.
    "gpt2": {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
    "bailingmoe": {"self_attn.q_proj", "self_attn.k_proj"},
    "internlm2": {"self_attn.q_proj", "self_attn.k_proj"},
}


def _model(name: str) -> BaseModel:
    return BaseModel(hand_header(name, {}, {}), name, ARCHITECTURES[name])


def test_every_architecture_of_the_converter_is_in_the_table() -> None:
    assert len(CONVERTER) == 130
    assert set(CONVERTER) <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", sorted(CONVERTER))
def test_modules_become_the_tensors_that_the_converter_gave(name: str) -> None:
    base = _model(name)
    if base.architecture.refused and not base.architecture.refused_key:
        return
    for module, targets in CONVERTER[name].items():
        if module in SPLIT_BY_BASE or module in NO_SUCH_MODULES.get(name, ()) or not targets:
            continue
        path = module if module.startswith(("model.", "lm_head")) else f"model.layers.0.{module}"
        address = address_of(path)
        assert address is not None
        (rule,) = rules_of(address, base)
        is_permuted = base.architecture.is_rotary and rule.targets[0] in ("attn_q", "attn_k")
        what = "rowperm" if is_permuted else "id"
        assert rule.rows is Rows.KEEP
        assert [f"{target}:{what}" for target in rule.targets] == targets, module


def test_the_rotary_order_is_that_of_the_classes_that_permute() -> None:
    # All classes of llama.cpp's `conversion/` whose own or inherited `modify_tensors` permutes the
    # rows of q and k, or cuts them out of one matrix first, unless `undo_permute` is off.
    permuting = """
        arcee arctic baichuan bailingmoe chameleon deci deepseek granite granite_swa granitehybrid
        granitemoe internlm2 llada llama llama-embed minicpm mistral3 nanbeige nemotron_h
        nemotron_h_moe olmo smollm3 xverse
        """
    rotary = {name for name, entry in ARCHITECTURES.items() if entry.is_rotary}
    assert rotary == set(permuting.split())


@pytest.mark.parametrize("name", ["qwen35", "qwen35moe", "qwen4exp"])
def test_linear_attention_is_tiled_in_all_classes_that_inherit_it(name: str) -> None:
    base = _model(name)
    assert base.architecture.has_linear_attention
    for module in ("in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b"):
        address = address_of(f"model.layers.0.linear_attn.{module}")
        assert address is not None
        assert rules_of(address, base)[0].rows is not Rows.KEEP


def test_what_is_refused_has_a_reason() -> None:
    refused = {name for name, entry in ARCHITECTURES.items() if entry.refused}
    assert {"bitnet", "rwkv6", "rwkv7", "muse-glimmer", "t5", "glm4"} <= refused
    for name in refused:
        assert ARCHITECTURES[name].refused.startswith(("its ", "it ", "the ", "half "))


def test_every_naming_of_the_table_exists_and_is_used() -> None:
    named = {entry.naming for entry in ARCHITECTURES.values()} - {""}
    assert named == set(NAMINGS)


@pytest.mark.parametrize("naming", sorted(NAMINGS))
def test_every_name_of_a_naming_is_one_that_the_planner_knows(naming: str) -> None:
    entry = NAMINGS[naming]
    bases = [_model(name) for name, a in ARCHITECTURES.items() if a.naming == naming]
    for module in entry.modules:
        address = address_of(f"{entry.layers}.3.{module.removesuffix('.weight')}")
        assert address is not None
        assert address.layer == 3
        assert any(rules_of(address, base) for base in bases), module
    for whole in (entry.embedding, entry.head):
        assert address_of(whole) is not None, whole
