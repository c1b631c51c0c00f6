"""A stack written as a PEFT folder is that stack, in the names and orientation of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.peft_export.export import PeftFolder, base_repository, write_peft_folder
from engine.adapters.read import read_adapter
from engine.adapters.scaled_adapter import FusePart, part_of
from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.model_header import require_base
from tests.support.dense_delta import deltas_of
from tests.support.gguf_raw import RawGguf, text
from tests.support.merging import parts_of
from tests.support.places import REFERENCES
from tests.support.stored_folders import peft_pairs, read_safetensors, write_gguf_of
from tests.support.tiny_models import write_adapter, write_base

LLAMA = REFERENCES / "data"
ARCHITECTURES = REFERENCES / "architectures"
NAMES = sorted(path.parent.name for path in ARCHITECTURES.glob("*/base.gguf"))
STACK = [(LLAMA / "first.gguf", 0.7), (LLAMA / "second.gguf", -0.4)]


def export(stack: list[tuple[Path, float]], base: Path, out: Path, **options: Any) -> PeftFolder:
    parts = parts_of(stack)
    options.setdefault("type_", GgmlType.F32)
    return write_peft_folder(parts, require_base(base), out, **options)


def in_halves(rows: NDArray[np.float64], n_head: int) -> NDArray[np.float64]:
    """Return rows that llama.cpp rotates in neighbours as transformers rotates them, in halves."""
    pairs = rows.reshape(n_head, rows.shape[0] // n_head // 2, 2, -1)
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def test_a_stack_has_the_deltas_of_its_gguf_in_the_order_of_transformers(tmp_path: Path) -> None:
    export(STACK, LLAMA / "base.gguf", tmp_path / "out")
    found = peft_pairs(tmp_path / "out", 0)
    expected = deltas_of(STACK)
    assert len(found) == len(expected) == 15
    attention = {"q": ("attn_q", 4), "k": ("attn_k", 2)}
    for name, (tensor, n_head) in attention.items():
        delta = in_halves(expected[f"blk.1.{tensor}.weight"], n_head)
        path = f"model.layers.1.self_attn.{name}_proj"
        np.testing.assert_allclose(found[path].delta, delta, rtol=0, atol=1e-5)
    others = {
        "mlp.down_proj": "ffn_down",
        "self_attn.o_proj": "attn_output",
        "mlp.up_proj": "ffn_up",
    }
    for name, tensor in others.items():
        delta = expected[f"blk.0.{tensor}.weight"]
        path = f"model.layers.0.{name}"
        np.testing.assert_allclose(found[path].delta, delta, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["lm_head"].delta, expected["output.weight"], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_of_peft_comes_back_from_gguf(name: str, tmp_path: Path) -> None:
    base, folder = ARCHITECTURES / name / "base.gguf", ARCHITECTURES / name / "plain"
    header = require_base(base)
    n_experts = header.integer(f"{header.architecture}.expert_count") or 0
    adapter = write_gguf_of(folder, base, tmp_path / "adapter.gguf")
    export([(adapter, 0.5)], base, tmp_path / "out")
    theirs, ours = peft_pairs(folder, n_experts), peft_pairs(tmp_path / "out", n_experts)
    assert set(ours) == set(theirs)
    for path, pair in theirs.items():
        np.testing.assert_allclose(ours[path].delta, 0.5 * pair.delta, rtol=0, atol=1e-6)
    keys = read_safetensors(folder / "adapter_model.safetensors")
    assert set(read_safetensors(tmp_path / "out" / "adapter_model.safetensors")) == set(keys)


@pytest.mark.parametrize(
    ("name", "mistaken"),
    [
        ("deepseek2", "shared_experts.gate_proj"),
        ("qwen3next", "shared_expert.down_proj"),
        ("qwen3moe", ""),
        ("llama", ""),
    ],
)
def test_a_shared_expert_that_peft_takes_for_others_is_told(
    name: str, mistaken: str, tmp_path: Path
) -> None:
    folder = ARCHITECTURES / name
    adapter = write_gguf_of(folder / "plain", folder / "base.gguf", tmp_path / "adapter.gguf")
    part = part_of(read_adapter(adapter), 1.0)
    written = write_peft_folder([part], require_base(folder / "base.gguf"), tmp_path / "out")
    assert len(written.notices) == bool(mistaken)
    assert all(mistaken in notice for notice in written.notices)


def test_an_adapted_embedding_comes_back(tmp_path: Path) -> None:
    base, folder = ARCHITECTURES / "llama" / "base.gguf", ARCHITECTURES / "llama" / "embedding"
    adapter = write_gguf_of(folder, base, tmp_path / "adapter.gguf")
    export([(adapter, 1.0)], base, tmp_path / "out")
    theirs, ours = peft_pairs(folder, 0), peft_pairs(tmp_path / "out", 0)
    assert set(ours) == set(theirs) >= {"model.embed_tokens", "lm_head"}
    for path, pair in theirs.items():
        np.testing.assert_allclose(ours[path].delta, pair.delta, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rank", "folder_rank"), [(None, 10), (10, 10), (3, 3)])
def test_the_rank_is_one_for_all_and_alpha_equals_it(
    rank: int | None, folder_rank: int, tmp_path: Path
) -> None:
    found = export(STACK, LLAMA / "base.gguf", tmp_path / "out", rank=rank, base_name="me/base")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text("utf-8"))
    assert (config["r"], config["lora_alpha"], found.rank) == (folder_rank,) * 3
    assert (config["peft_type"], config["task_type"]) == ("LORA", "CAUSAL_LM")
    assert config["base_model_name_or_path"] == "me/base"
    assert config["target_modules"] == sorted(
        ["down_proj", "gate_proj", "k_proj", "lm_head", "o_proj", "q_proj", "up_proj", "v_proj"]
    )
    assert "target_parameters" not in config
    for key, values in read_safetensors(tmp_path / "out" / "adapter_model.safetensors").items():
        assert values.shape[0 if "lora_A" in key else 1] == folder_rank


def test_a_lower_rank_is_the_best_of_its_kind_and_says_what_it_keeps(tmp_path: Path) -> None:
    found = export(STACK, LLAMA / "base.gguf", tmp_path / "out", rank=3)
    deltas = {path: pair.delta for path, pair in peft_pairs(tmp_path / "out", 0).items()}
    export(STACK, LLAMA / "base.gguf", tmp_path / "whole")
    whole = {path: pair.delta for path, pair in peft_pairs(tmp_path / "whole", 0).items()}
    for module in found.modules:
        u, s, vt = np.linalg.svd(whole[module.target], full_matrices=False)
        np.testing.assert_allclose(
            deltas[module.target], (u[:, :3] * s[:3]) @ vt[:3], rtol=0, atol=1e-5
        )
        assert module.energy.share == pytest.approx((s[:3] ** 2).sum() / (s**2).sum(), abs=1e-6)


def test_a_module_of_two_tensors_gets_no_more_than_the_rank(tmp_path: Path) -> None:
    """`gate_up_proj` is two tensors of the GGUF, whose factors differ once a stack is fused."""
    base = ARCHITECTURES / "mixtral" / "base.gguf"
    targets = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
    stack = [(write_adapter(tmp_path / "a.gguf", base, rank=3, targets=targets), 1.0)]
    assert export(stack, base, tmp_path / "whole").rank == 6
    assert export(stack, base, tmp_path / "cut", rank=2).rank == 2
    whole, cut = (peft_pairs(tmp_path / name, 4) for name in ("whole", "cut"))
    path = "model.layers.0.mlp.experts.gate_up_proj"
    u, s, vt = np.linalg.svd(whole[path].delta, full_matrices=False)
    best = (u[..., :2] * s[:, None, :2]) @ vt[:, :2]
    np.testing.assert_allclose(cut[path].delta, best, rtol=0, atol=1e-5)
    config = json.loads((tmp_path / "cut" / "adapter_config.json").read_text("utf-8"))
    assert config["target_parameters"] == ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]
    assert config["target_modules"] == []


def test_modules_are_called_by_no_more_of_their_path_than_tells_them(tmp_path: Path) -> None:
    """PEFT wraps every module that a name fits, and warns of those without weights."""
    base = LLAMA / "base.gguf"
    whole = write_adapter(tmp_path / "a.gguf", base, targets=["attn_q", "attn_v", "output"])
    raw = RawGguf.read(whole)
    for half in ("a", "b"):
        del raw.tensors[f"blk.0.attn_v.weight.lora_{half}"]
    raw.write(whole)
    found = export([(whole, 1.0)], base, tmp_path / "out")
    assert found.targets == ("lm_head", "model.layers.1.self_attn.v_proj", "q_proj")
    gpt2 = ARCHITECTURES / "gpt2" / "base.gguf"
    one = write_adapter(tmp_path / "b.gguf", gpt2, targets=["ffn_down"])
    assert export([(one, 1.0)], gpt2, tmp_path / "gpt2").targets == ("mlp.c_proj",)
    both = write_adapter(tmp_path / "c.gguf", gpt2, targets=["ffn_down", "attn_output"])
    assert export([(both, 1.0)], gpt2, tmp_path / "both").targets == ("c_proj",)


def test_weights_are_halved_where_f16_holds_them(tmp_path: Path) -> None:
    export(STACK, LLAMA / "base.gguf", tmp_path / "f32")
    export(STACK, LLAMA / "base.gguf", tmp_path / "f16", type_=GgmlType.F16)
    full, half = (
        read_safetensors(tmp_path / name / "adapter_model.safetensors") for name in ("f32", "f16")
    )
    for name, values in full.items():
        np.testing.assert_allclose(half[name], values, rtol=1e-3, atol=1e-6)
    sizes = [(tmp_path / n / "adapter_model.safetensors").stat().st_size for n in ("f32", "f16")]
    assert sizes[1] < 0.7 * sizes[0]


def test_the_card_is_told_the_rank(tmp_path: Path) -> None:
    export(STACK, LLAMA / "base.gguf", tmp_path / "out", rank=4, card=lambda rank, _: f"# {rank}\n")
    assert (tmp_path / "out" / "README.md").read_text("utf-8") == "# 4\n"


def test_equal_arguments_write_equal_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(STACK, LLAMA / "base.gguf", tmp_path / name, rank=4)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_an_architecture_without_known_names_is_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    adapter = write_adapter(tmp_path / "a.gguf", base)
    for path in (base, adapter):
        raw = RawGguf.read(path)
        raw.metadata["general.architecture"] = text("unheard-of")
        raw.write(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(AdapterError, match="unheard-of"):
        export([(adapter, 1.0)], base, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_left_of_what_was_given_up(tmp_path: Path) -> None:
    def give_up(_name: str, fraction: float) -> None:
        if fraction > 0.9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(STACK, LLAMA / "base.gguf", tmp_path / "out", on_progress=give_up)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"general.base_model.0.repo_url": "https://huggingface.co/org/parent"}, "org/parent"),
        (
            {
                "general.base_model.0.repo_url": "https://huggingface.co/org/parent",
                "general.repo_url": "https://huggingface.co/org/model",
            },
            "org/model",
        ),
        ({"general.source.huggingface.repository": "org/model"}, "org/model"),
        ({"general.repo_url": "https://example.com/org/model"}, None),
    ],
)
def test_the_base_is_called_after_its_repository(
    metadata: dict[str, str], expected: str | None, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base.gguf")
    raw = RawGguf.read(base)
    raw.metadata |= {key: text(value) for key, value in metadata.items()}
    raw.write(base)
    assert base_repository(require_base(base)) == expected


def test_parts_at_scale_zero_are_left_out(tmp_path: Path) -> None:
    parts = parts_of(STACK)
    silent = FusePart(parts[1].header, parts[1].sha256, 0.0)
    base = require_base(LLAMA / "base.gguf")
    assert write_peft_folder([parts[0], silent], base, tmp_path / "out").rank == 4
