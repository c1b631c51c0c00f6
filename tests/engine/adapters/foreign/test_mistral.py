"""What mistral-finetune saves is read with the scale of its params.json and Meta's row order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.conversion.convert import convert
from engine.adapters.foreign.read import read_source
from engine.errors import AdapterError
from tests.support.adapter_cases import BASE, CASES, error
from tests.support.peft_folders import pair, write_mlx, write_peft
from tests.support.places import REFERENCES
from tests.support.row_loops import permuted

QWEN = REFERENCES / "architectures" / "qwen2" / "base.gguf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the folder that mistral-finetune wrote."""
    copied = Path(shutil.copytree(CASES / "mistral-finetune", tmp_path / "run"))
    (copied / "adapter_config.json").unlink()
    return copied


@pytest.mark.parametrize("named", ["", "lora.safetensors", "params.json"])
def test_the_logits_are_those_of_the_training(folder: Path, tmp_path: Path, named: str) -> None:
    assert error(folder / named, tmp_path / "out.gguf") < 1e-5


def test_a_configuration_of_peft_beside_it_must_agree(folder: Path, tmp_path: Path) -> None:
    config = CASES / "mistral-finetune" / "adapter_config.json"
    shutil.copy(config, folder)
    assert error(folder, tmp_path / "out.gguf") < 1e-5
    fields = json.loads(config.read_text()) | {"lora_alpha": 32}
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    with pytest.raises(AdapterError, match=r"scale 4, but params\.json .* scale 2: remove"):
        read_source(folder)


def test_the_weights_under_pefts_name_have_the_same_row_order(folder: Path, tmp_path: Path) -> None:
    shutil.copy(CASES / "mistral-finetune" / "adapter_config.json", folder)
    (folder / "lora.safetensors").rename(folder / "adapter_model.safetensors")
    assert error(folder, tmp_path / "out.gguf") < 1e-5


def test_the_newest_checkpoint_of_a_run_is_taken(folder: Path, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    for step in (100, 300, 200):
        inner = checkpoints / f"checkpoint_{step:06}" / "consolidated"
        shutil.copytree(folder, inner)
    source = read_source(checkpoints)
    assert "the newest was taken, checkpoint_000300" in source.notices[0]
    assert source.title == "checkpoints checkpoint_000300"


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"rank": 0, "scaling": 2.0}, "lora.rank no rank"),
        ({"rank": 8}, "lora.scaling no number"),
        ({"rank": 8, "scaling": 0}, "lora.scaling of 0"),
    ],
)
def test_a_scale_that_is_missing_is_not_guessed(
    folder: Path, lora: dict[str, object], said: str
) -> None:
    (folder / "params.json").write_text(json.dumps({"lora": lora}))
    with pytest.raises(AdapterError, match=said):
        read_source(folder)


def test_params_of_a_model_alone_are_no_configuration(folder: Path) -> None:
    (folder / "params.json").write_text(json.dumps({"dim": 64}))
    with pytest.raises(AdapterError, match=r"no adapter_config\.json"):
        read_source(folder)


@pytest.mark.parametrize("prefix", ["", "model.", "base_model.model.", "base_model.model.model."])
@pytest.mark.parametrize("head", ["q", "k"])
def test_metas_names_keep_their_rows_and_those_of_transformers_do_not(
    tmp_path: Path, prefix: str, head: str
) -> None:
    a, b = pair(64 if head == "q" else 16, 64, 2)
    for name, module in (("meta", f"attention.w{head}"), ("peft", f"self_attn.{head}_proj")):
        modules = {f"layers.1.{module}": (a, b)}
        write_peft(tmp_path / name, modules, alpha=2, r=2, prefix=prefix)
    (meta,) = read_source(tmp_path / "meta").modules
    (peft,) = read_source(tmp_path / "peft").modules
    assert (meta.row_order, peft.row_order) == ("neighbours", "halves")


def test_mlx_has_the_row_order_of_its_names(tmp_path: Path) -> None:
    a, b = pair(64, 64, 2)
    written = []
    for name, module in (("meta", "attention.wq"), ("plain", "self_attn.q_proj")):
        write_mlx(tmp_path / name, {f"model.layers.0.{module}": (a, b)}, scale=1, r=2)
        written.append(_b_of(tmp_path / name, tmp_path / f"{name}.gguf"))
    np.testing.assert_array_equal(written[0], b)
    np.testing.assert_array_equal(written[1], permuted(b, 8))


def _b_of(source: Path, out: Path) -> NDArray[np.float32]:
    convert(source, BASE, out, out_type="f32")
    (tensor,) = [t for t in gguf.GGUFReader(out).tensors if t.name.endswith("lora_b")]
    return np.asarray(tensor.data)


@pytest.mark.parametrize(
    ("base", "module"),
    [
        (BASE, "model.layers.0.attn.q_proj"),
        (BASE, "model.layers.0.attention.k_proj"),
        (BASE, "transformer.h.0.attn.attention.q_proj"),
        (QWEN, "layers.0.attention.wq"),
    ],
)
def test_a_name_whose_row_order_is_not_known_is_refused(
    tmp_path: Path, base: Path, module: str
) -> None:
    write_peft(tmp_path / "x", {module: pair(64, 64, 2)}, alpha=2, r=2)
    with pytest.raises(AdapterError, match="order of rows is not known"):
        convert(tmp_path / "x", base, tmp_path / "out.gguf")


@pytest.mark.parametrize("module", ["attn.q_proj", "attn.output_proj", "mlp.w1", "mlp.w2"])
@pytest.mark.parametrize("part", ["lora_a", "lora_A"])
def test_torchtunes_own_names_are_refused(tmp_path: Path, module: str, part: str) -> None:
    """Their q and k are as Meta's for Llama and as transformers' for Qwen; their w1 is the gate."""
    a, b = pair(64, 64, 2)
    name = f"layers.0.{module}.{part}"
    other = name[:-1] + ("b" if part == "lora_a" else "B")
    tensors = {f"{name}.weight": a, f"{other}.weight": b}
    write_peft(tmp_path / "x", {}, alpha=2, r=2, tensors=tensors)
    with pytest.raises(AdapterError, match=r"torchtune's own names.* PEFT's form"):
        convert(tmp_path / "x", BASE, tmp_path / "out.gguf")
