"""Adapters of other methods as LoRA, against what PEFT computes with the original."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.foreign.peft.methods import CONVERTIBLE
from engine.adapters.foreign.peft.to_lora import needs_weights, to_lora
from engine.errors import AdapterError
from tests.support.dense_delta import deltas_of
from tests.support.tiny_models import write_base as write_gguf_base
from tui.cli import main

pytestmark = pytest.mark.reference

Doubles = NDArray[np.float64]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
OPTIONS: dict[str, dict[str, Any]] = {
    "C3AConfig": {"block_size": 16},
    "DeloraConfig": {"r": 4},
    "FourierFTConfig": {"n_frequency": 50},
    "GraloraConfig": {"r": 8, "gralora_k": 2},
    "LoHaConfig": {"r": 4, "alpha": 8},
    "LoKrConfig": {"r": 4, "alpha": 8},
    "MissConfig": {"r": 8},
    "PsoftConfig": {"r": 8},
    "RandLoraConfig": {"r": 8},
    "TinyLoraConfig": {"r": 4},
    "UniLoraConfig": {"r": 4},
    "VBLoRAConfig": {"r": 4, "num_vectors": 16, "vector_length": 16, "topk": 2},
    "VeraConfig": {"r": 8},
    "WaveFTConfig": {"n_frequency": 50},
}
# How far parameters are from where PEFT starts them: so that the effect is about one. PEFT takes
# shares in float32, so that of a share of 1.0 up to 1e-7 is left out, 3e-4 of the delta's norm.
NOISE = {"FourierFTConfig": 0.02, "RandLoraConfig": 1e-4}
USUAL_NOISE = 0.1


@dataclass(frozen=True, slots=True)
class Bases:
    """A tiny model in transformers' format, whole and as its configuration alone."""

    whole: Path
    config_only: Path


def tokens() -> Any:
    import torch

    return torch.arange(40).reshape(2, 20) % 64


def load_base(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model: Any) -> Doubles:
    import torch

    with torch.no_grad():
        return np.asarray(model(tokens()).logits.double())


def adapted_logits(base: Path, folder: Path) -> Doubles:
    import peft

    return logits(peft.PeftModel.from_pretrained(load_base(base), folder).eval())


def tensors_of(folder: Path) -> dict[str, Doubles]:
    from safetensors.numpy import load_file

    stored = load_file(folder / "adapter_model.safetensors")
    return {name: values.astype(np.float64) for name, values in stored.items()}


def deltas_of_lora(folder: Path) -> dict[str, Doubles]:
    tensors = tensors_of(folder)
    names = [n.removesuffix(".lora_A.weight") for n in tensors if n.endswith(".lora_A.weight")]
    return {n: tensors[f"{n}.lora_B.weight"] @ tensors[f"{n}.lora_A.weight"] for n in names}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return write_base(tmp_path_factory.mktemp("llama"), "llama")


def write_base(folder: Path, kind: str) -> Bases:
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

    torch.manual_seed(0)
    config = (
        LlamaConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=64,
            initializer_range=0.1,
        )
        if kind == "llama"
        else GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=64, n_positions=64)
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "whole")
    (folder / "config").mkdir()
    shutil.copy(folder / "whole" / "config.json", folder / "config")
    return Bases(folder / "whole", folder / "config")


@pytest.fixture
def write_adapter(bases: Bases, tmp_path: Path) -> Callable[..., Path]:
    def write(
        config: str, base: Path = bases.whole, noise: float | None = None, **options: Any
    ) -> Path:
        import peft
        import torch

        fields = {"target_modules": TARGETS, **OPTIONS.get(config, {}), **options}
        torch.manual_seed(0)
        model = peft.get_peft_model(load_base(base), getattr(peft, config)(**fields))
        size = NOISE.get(config, USUAL_NOISE) if noise is None else noise
        torch.manual_seed(7)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(torch.randn_like(parameter) * size)
        folder = tmp_path / config
        model.save_pretrained(folder)
        return folder

    return write


@pytest.mark.parametrize("config", OPTIONS)
def test_at_full_energy_the_logits_are_those_of_the_original(
    config: str, bases: Bases, write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_adapter(config)
    base = bases.whole if needs_weights(folder) else bases.config_only
    form = to_lora(folder, base, 1.0, tmp_path / "lora")
    assert form.n_modules == 14
    assert form.energy_kept > 1 - 1e-6
    assert form.energy_kept_least > 1 - 1e-6
    original = adapted_logits(bases.whole, folder)
    effect = np.abs(original - logits(load_base(bases.whole))).max()
    assert 1e-2 < effect < 10
    converted = adapted_logits(bases.whole, form.folder)
    # PEFT decomposes in float32: with MKL's code for AVX2 the logits of a LoKr adapter were up to
    # 1.3e-4 of its effect away, with that for AVX-512 4e-5 at most.
    np.testing.assert_allclose(converted, original, rtol=0, atol=2e-4 * max(1, effect))


def test_every_method_that_is_said_to_be_convertible_is_converted_here() -> None:
    import peft

    methods = {str(getattr(peft, config)().peft_type.value) for config in OPTIONS}
    assert methods == CONVERTIBLE


def test_the_form_of_miss_that_multiplies_the_base_needs_its_weights(
    bases: Bases, write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_adapter("MissConfig", noise=0.02, init_weights="bat")
    with pytest.raises(AdapterError, match="holds no weights, which the LoRA form"):
        to_lora(folder, bases.config_only, 1.0, tmp_path / "lora")
    form = to_lora(folder, bases.whole, 1.0, tmp_path / "lora")
    original = adapted_logits(bases.whole, folder)
    converted = adapted_logits(bases.whole, form.folder)
    np.testing.assert_allclose(converted, original, rtol=0, atol=1e-4)


def test_modules_of_gpt2_whose_weights_are_transposed_are_converted(
    write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base = write_base(tmp_path / "gpt2", "gpt2")
    folder = write_adapter(
        "VeraConfig", base.whole, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True
    )
    form = to_lora(folder, base.config_only, 1.0, tmp_path / "lora")
    assert form.energy_kept > 1 - 1e-6
    original = adapted_logits(base.whole, folder)
    converted = adapted_logits(base.whole, form.folder)
    np.testing.assert_allclose(converted, original, rtol=0, atol=1e-4)


@pytest.mark.parametrize("config", ["LoHaConfig", "LoKrConfig"])
@pytest.mark.parametrize("rank", [3, 0.9])
def test_the_energy_kept_is_that_of_the_singular_values_kept(
    config: str,
    rank: int | float,
    bases: Bases,
    write_adapter: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder = write_adapter(config)
    form = to_lora(folder, bases.config_only, rank, tmp_path / "lora")
    deltas = _deltas(folder, config)
    converted = deltas_of_lora(form.folder)
    assert set(converted) == set(deltas)
    shares, ranks = {}, []
    for name, delta in deltas.items():
        squares = np.linalg.svd(delta, compute_uv=False) ** 2
        shares_kept = np.cumsum(squares) / squares.sum()
        kept = rank if isinstance(rank, int) else int(np.searchsorted(shares_kept, rank)) + 1
        ranks.append(kept)
        shares[name] = shares_kept[kept - 1]
        lost = np.square(delta - converted[name]).sum() / np.square(delta).sum()
        assert 1 - lost == pytest.approx(shares[name], abs=1e-5)
    assert (form.rank_min, form.rank_max) == (min(ranks), max(ranks))
    least = min(shares, key=lambda name: shares[name])
    assert form.energy_kept_least == pytest.approx(shares[least], abs=1e-5)
    assert f"base_model.model.{form.least_module}" == least
    energies = {name: np.square(delta).sum() for name, delta in deltas.items()}
    total = sum(shares[name] * energy for name, energy in energies.items()) / sum(energies.values())
    assert form.energy_kept == pytest.approx(total, abs=1e-5)
    assert form.energy_kept < 1


def _deltas(folder: Path, config: str) -> dict[str, Doubles]:
    """Return what LoHa or LoKr adds, by their papers: Hadamard and Kronecker products."""
    tensors = tensors_of(folder)
    scale = 8 / 4
    deltas = {}
    for name in sorted({name.rpartition(".")[0] for name in tensors}):
        if config == "LoHaConfig":
            parts = [tensors[f"{name}.hada_w{n}"] for n in ("1_a", "1_b", "2_a", "2_b")]
            deltas[name] = scale * (parts[0] @ parts[1]) * (parts[2] @ parts[3])
            continue
        factors = [
            tensors[f"{name}.lokr_w{n}"]
            if f"{name}.lokr_w{n}" in tensors
            else tensors[f"{name}.lokr_w{n}_a"] @ tensors[f"{name}.lokr_w{n}_b"]
            for n in (1, 2)
        ]
        deltas[name] = scale * np.kron(*factors)
    return deltas


def test_what_does_not_fit_is_one_sentence(
    bases: Bases, write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_adapter("LoHaConfig")
    with pytest.raises(AdapterError, match=r"the rank 33 is larger than its matrix .*k_proj"):
        to_lora(folder, bases.config_only, 33, tmp_path / "lora")
    other = tmp_path / "other"
    other.mkdir()
    config = json.loads((bases.config_only / "config.json").read_text())
    for change in ({"num_hidden_layers": 3}, {"hidden_size": 32}, {"model_type": "nothing"}):
        (other / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(AdapterError, match="cannot be made a LoRA: ") as caught:
            to_lora(folder, other, 4, tmp_path / "lora")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "lora").exists()
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*.part"))


def test_progress_is_reported_in_three_steps(
    bases: Bases, write_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    told: list[tuple[str, float]] = []
    folder = write_adapter("LoHaConfig")
    to_lora(folder, bases.config_only, 2, tmp_path / "lora", lambda *stage: told.append(stage))
    titles = list(dict.fromkeys(title for title, _ in told))
    assert titles == ["loading PEFT", "decomposing", "measuring what was kept"]
    for title in titles:
        fractions = [fraction for told_title, fraction in told if told_title == title]
        assert fractions == sorted(fractions)
        assert fractions[-1] < 1


def test_the_command_writes_a_gguf_of_it_and_tells_what_was_kept(
    bases: Bases,
    write_adapter: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The tiny GGUF base has the shapes of the tiny model of transformers.
    base = write_gguf_base(tmp_path / "base.gguf")
    folder, out = write_adapter("LoHaConfig"), tmp_path / "loha.gguf"
    arguments = ["convert", str(folder), "--base", str(base), "-o", str(out), "--json"]
    assert main([*arguments, "--weights", str(bases.config_only), "--rank", "16"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["original"]["method"] == "LOHA"
    # A Hadamard product of two matrices of rank 4 has rank 16 at most.
    assert document["original"]["energy_kept_least"] > 1 - 1e-6
    assert (document["name"], document["ranks"]) == ("LoHaConfig", [16])
    written, deltas = deltas_of([(out, 1.0)]), _deltas(folder, "LoHaConfig")
    for theirs, ours in (("self_attn.v_proj", "attn_v"), ("mlp.down_proj", "ffn_down")):
        delta = deltas[f"base_model.model.model.layers.1.{theirs}"]
        np.testing.assert_allclose(
            written[f"blk.1.{ours}.weight"], delta, rtol=0, atol=1e-5 * np.abs(delta).max()
        )
