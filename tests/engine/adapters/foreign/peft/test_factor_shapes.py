"""Factors that are empty or cut are told apart: pruned ones add nothing, shares are no adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.foreign.read import read_source
from engine.errors import AdapterError
from tests.support.adapter_cases import CASES, error
from tests.support.peft_folders import PREFIX, pair, torch_bytes, torch_pickle, write_peft

Array = NDArray[Any]
Q, V = (f"model.layers.0.self_attn.{name}_proj" for name in "qv")
ADALORA = {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "total_step": 10}


def empty(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def refusal(folder: Path, tensors: dict[str, Array], **config: object) -> str:
    """Return the sentence that refuses an adapter of rank 4 with these parts of q."""
    named = {f"{PREFIX}{Q}.{part}": values for part, values in tensors.items()}
    write_peft(folder, {V: pair(6, 4, 4)}, alpha=4, r=4, tensors=named, config=config)
    with pytest.raises(AdapterError) as raised:
        read_source(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_modules_that_adalora_pruned_away_add_nothing(tmp_path: Path) -> None:
    folder = CASES / "adalora"
    assert error(folder, tmp_path / "out.gguf", folder / "logits.npz", "ref") < 1e-5
    source = read_source(folder)
    assert [module.path for module in source.modules] == [
        f"model.layers.{layer}.self_attn.v_proj" for layer in range(2)
    ]
    assert source.notices == (
        "4 modules that AdaLoRA pruned to rank 0 left out: they add nothing.",
    )


def test_an_adapter_that_is_pruned_away_altogether(tmp_path: Path) -> None:
    parts = {"lora_A": empty(0, 4), "lora_B": empty(6, 0), "lora_E": empty(0, 1)}
    named = {f"{PREFIX}{Q}.{part}": values for part, values in parts.items()}
    write_peft(tmp_path, {}, alpha=4, r=4, tensors=named, config=ADALORA)
    with pytest.raises(AdapterError, match="rank 0 in all modules, so it changes nothing"):
        read_source(tmp_path)


def test_a_lora_of_rank_0_contradicts_its_configuration(tmp_path: Path) -> None:
    tensors = {"lora_A.weight": empty(0, 4), "lora_B.weight": empty(6, 0)}
    assert f"has rank 0 at {Q!r} where adapter_config.json says 4" in refusal(tmp_path, tensors)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (empty(0), empty(0), "as DeepSpeed ZeRO-3 leaves them: gather"),
        (empty(8), empty(0), "one process's share of FSDP: save it again with the full"),
        (empty(0), empty(5), "one process's share of FSDP: save it again with the full"),
        (empty(2, 4), empty(3, 4), "2 of 4 rows of A at {}, one process's share of FSDP2"),
        (empty(0, 4), empty(3, 4), "0 of 4 rows of A at {}, one process's share of FSDP2"),
        (empty(4, 4), empty(0, 4), "no row of B at {}, one process's share of FSDP2"),
        (empty(4, 4), empty(3, 2), "an A of rank 4 but a B of rank 2 at {}"),
        (empty(4, 0), empty(3, 4), "has empty factors at {}"),
    ],
)
def test_the_shares_of_a_sharded_training_are_named(
    tmp_path: Path, a: Array, b: Array, said: str
) -> None:
    tensors = {"lora_A.weight": a, "lora_B.weight": b}
    assert said.format(repr(Q)) in refusal(tmp_path, tensors)


def test_the_shares_of_a_sharded_adalora(tmp_path: Path) -> None:
    tensors = {"lora_A": empty(2, 4), "lora_B": empty(3, 4), "lora_E": empty(2, 1)}
    write_peft(tmp_path, {}, alpha=4, r=4)
    (tmp_path / "adapter_model.safetensors").unlink()
    named = {f"{PREFIX}{Q}.{part}": values for part, values in tensors.items()}
    write_peft(tmp_path, {}, alpha=4, r=4, tensors=named, config=ADALORA)
    with pytest.raises(AdapterError, match="share of FSDP2"):
        read_source(tmp_path)


def test_distributed_tensors_in_a_pickle_are_named(tmp_path: Path) -> None:
    folder = write_peft(tmp_path, {Q: pair(6, 4, 4)}, alpha=4, r=4, storage="bin")
    values = {f"{PREFIX}{Q}.lora_A.weight": empty(2, 4)}
    pickle = torch_pickle(values).replace(
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch.distributed.tensor._api\nDTensor\n"
    )
    torch_bytes(folder / "adapter_model.bin", values, pickle=pickle)
    with pytest.raises(AdapterError, match=r"share of tensors \(torch\.distributed.*FULL_STATE"):
        read_source(folder)
