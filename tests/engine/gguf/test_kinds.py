"""GGUF files that are neither models nor adapters are named by what they are, in both places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.read import read_adapter
from engine.errors import AdapterError, BaseError
from engine.gguf.model_header import require_base
from tests.support.adapter_cases import CASES
from tests.support.gguf_raw import RawGguf, RawTensor, RawValue, text
from tests.support.tiny_models import write_adapter, write_base

ROW = RawTensor((4,), 0, np.zeros(4, np.float32).tobytes())


def tensors(*names: str) -> dict[str, RawTensor]:
    return dict.fromkeys(names, ROW)


def of(architecture: str | None, names: dict[str, RawTensor], **keys: RawValue) -> RawGguf:
    metadata = {} if architecture is None else {"general.architecture": text(architecture)}
    return RawGguf({**metadata, **{k.replace("__", "."): v for k, v in keys.items()}}, names)


ODD = {
    "a control vector": of("controlvector", tensors("direction.1")),
    "a control vector without a name": of("llama", tensors("direction.1", "direction.2")),
    "an importance matrix": of("imatrix", tensors("blk.0.attn_q.weight.in_sum2")),
    "an importance matrix by type": of(None, tensors("a.counts"), general__type=text("imatrix")),
    "the vision or audio part": of("clip", tensors("v.blk.0.attn_q.weight")),
    "the vision or audio part by type": of("x", tensors("v.a"), general__type=text("mmproj")),
    "an image or video model": of("flux", tensors("double_blocks.0.img_attn.qkv.weight")),
    "an image or video model without a name": of(
        None, tensors("model.diffusion_model.input_blocks.0.0.weight")
    ),
    "a checkpoint of llama.cpp's former finetune": of(
        "llama",
        tensors("blk.0.attn_q.weight.lora_a", "optimizer.adam.first_moments"),
        training__type=text("finetune_lora"),
    ),
    "a LoRA without general.type": of(
        "llama", tensors("blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b")
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_file_is_named_as_adapter_and_as_base(tmp_path: Path, name: str) -> None:
    path = ODD[name].write(tmp_path / "x.gguf")
    what = f"is {name}".replace(" without a name", "").replace(" by type", "")
    with pytest.raises(AdapterError) as adapter:
        read_adapter(path)
    with pytest.raises(BaseError) as base:
        require_base(path)
    for error in (adapter, base):
        assert what in str(error.value)
        assert str(error.value).endswith(".")
    assert "not a LoRA adapter" in str(adapter.value)
    assert "not a model" in str(base.value)


def test_the_control_vector_of_repeng() -> None:
    with pytest.raises(AdapterError, match="is a control vector, not a LoRA"):
        read_adapter(CASES / "calm.gguf")
    with pytest.raises(BaseError, match="is a control vector, not a model"):
        require_base(CASES / "calm.gguf")


def test_models_and_adapters_are_what_they_were(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    assert require_base(base).architecture == "llama"
    assert read_adapter(write_adapter(tmp_path / "x.gguf", base)).architecture == "llama"
    with pytest.raises(AdapterError, match="is a model, not a LoRA adapter"):
        read_adapter(base)
