"""Weights that hold no LoRA of a text model are named by what they hold, not by what they lack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.foreign.read import read_source
from engine.errors import AdapterError
from tests.support.adapter_cases import CASES
from tests.support.peft_folders import PREFIX, pair, safetensors_bytes, torch_bytes, write_peft

LAYER = "model.layers.0"
Q = f"{LAYER}.self_attn.q_proj"
WEIGHTS = "adapter_model.safetensors"
CONTENTS = {
    f"{PREFIX}{LAYER}.self_attn.k_proj.ia3_l": "kind IA3, not LORA",
    "prompt_embeddings": "kind PROMPT_TUNING, not LORA",
    f"{PREFIX}{Q}.hada_w1_a": "kind LOHA, not LORA",
    f"{PREFIX}{Q}.lokr_w1": "kind LOKR, not LORA",
    f"{PREFIX}{Q}.oft_r.weight": "kind OFT, not LORA",
    f"{PREFIX}{Q}.vera_lambda_b": "kind VERA, not LORA",
    "base_model.vera_A": "kind VERA, not LORA",
    f"{PREFIX}model.embed_tokens.weight": "embeddings or an output alone",
    f"{PREFIX}lm_head.weight": "embeddings or an output alone",
    f"{Q}.weight": "whole weights without any LoRA factor, so a fine-tuned model",
    "layers.0.attention.wq.weight": "whole weights without any LoRA factor",
    "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": "a LoRA of an image model",
    "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": "a LoRA of an image model",
    "unet.down_blocks.0.attentions.0.to_q.lora_A.weight": "a LoRA of an image model",
    f"{Q}.lora_down.weight": "a LoRA in kohya's naming",
    "model.decoder.layers.0.self_attention.linear_qkv.adapter.linear_in.weight": "NeMo's own form",
    "transformer.h.0.attn.qkv.lora_A": "LitGPT's own form",
    "emb_params": "an embedding for an image model",
}


def refusal(path: Path) -> str:
    with pytest.raises(AdapterError) as raised:
        read_source(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")
    return str(raised.value)


@pytest.mark.parametrize("has_config", [True, False])
@pytest.mark.parametrize("name", CONTENTS)
def test_contents_are_named(tmp_path: Path, name: str, has_config: bool) -> None:
    write_peft(tmp_path, {}, alpha=2, r=2, tensors={name: pair(6, 4, 2)[0]})
    if not has_config:
        (tmp_path / "adapter_config.json").unlink()
    assert CONTENTS[name] in refusal(tmp_path)
    assert CONTENTS[name] in refusal(tmp_path / WEIGHTS)


def test_factors_without_a_configuration_ask_for_it(tmp_path: Path) -> None:
    write_peft(tmp_path, {Q: pair(6, 4, 2)}, alpha=2, r=2)
    (tmp_path / "adapter_config.json").unlink()
    assert "no adapter_config.json beside" in refusal(tmp_path)


@pytest.mark.parametrize("has_config", [True, False])
def test_a_lora_of_old_llama_cpp(tmp_path: Path, has_config: bool) -> None:
    if has_config:
        write_peft(tmp_path, {Q: pair(6, 4, 2)}, alpha=2, r=2)
        (tmp_path / WEIGHTS).unlink()
    shutil.copy(CASES / "ggml-adapter-model.bin", tmp_path)
    for path in (tmp_path, tmp_path / "ggml-adapter-model.bin"):
        said = refusal(path)
        assert "is a LoRA in llama.cpp's old format (ggla), which nothing reads any more" in said
        assert "convert the PEFT folder" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html><head><title>404", "is a web page"),
        (b"Invalid username or password.", "is an error of a server"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
        (b"\x1f\x8b\x08\0", "is a packed file"),
        (b"PK\x03\x04" + bytes(60), "ZIP archive"),
    ],
)
def test_what_was_saved_in_the_weights_place(tmp_path: Path, content: bytes, said: str) -> None:
    write_peft(tmp_path, {Q: pair(6, 4, 2)}, alpha=2, r=2)
    (tmp_path / WEIGHTS).write_bytes(content)
    assert said in refusal(tmp_path)


def test_the_format_is_told_by_the_content(tmp_path: Path) -> None:
    """Some programs save safetensors as .bin, and torch's format as .safetensors."""
    a, b = pair(6, 4, 2)
    write_peft(tmp_path, {Q: (a, b)}, alpha=2, r=2)
    (tmp_path / WEIGHTS).rename(tmp_path / "adapter_model.bin")
    named = {f"{PREFIX}{Q}.lora_A.weight": a, f"{PREFIX}{Q}.lora_B.weight": b}
    np.testing.assert_array_equal(read_source(tmp_path).modules[0].b.read(), b)
    torch_bytes(tmp_path / WEIGHTS, named)
    np.testing.assert_array_equal(read_source(tmp_path).modules[0].a.read(), a)


def test_weights_under_another_name_are_listed(tmp_path: Path) -> None:
    write_peft(tmp_path, {Q: pair(6, 4, 2)}, alpha=2, r=2)
    (tmp_path / WEIGHTS).rename(tmp_path / "pirate.safetensors")
    assert "but 'pirate.safetensors': name the file of the adapter" in refusal(tmp_path)
    assert len(read_source(tmp_path / "pirate.safetensors").modules) == 1


def test_a_distributed_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "__0_0.distcp").write_bytes(b"x")
    assert "checkpoint of torch's distributed training" in refusal(tmp_path)


def test_prompt_tuning_with_its_own_configuration(tmp_path: Path) -> None:
    content = safetensors_bytes({"prompt_embeddings": pair(6, 4, 2)[0]})
    (tmp_path / WEIGHTS).write_bytes(content)
    fields = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    assert "'PROMPT_TUNING', not LORA: it adds virtual tokens" in refusal(tmp_path)
