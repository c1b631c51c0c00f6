"""A person is told of an adapter that does nothing, next to nothing or a part, and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.adapters.checking.untrained import is_untrained
from engine.gguf.header import read_header
from engine.llama.adapter import LoraAdapter
from engine.llama.model import Model
from engine.protocol.values import AdapterEffect
from engine.runtime.effect.notices import effect_notices
from engine.runtime.effect.probe import EffectProbe
from engine.runtime.effect.used_tensors import usage_of
from tests.support.steps import finished
from tests.support.tiny_latent import write_latent_base
from tests.support.tiny_models import write_adapter, write_base

LATENT = ("attn_q_a", "attn_q_b", "attn_kv_a_mqa")


def told(base: Path, path: Path) -> tuple[str, ...]:
    """Measure the adapter on its own and return what a person is told."""
    header = read_header(path)
    with Model(base, n_gpu_layers=0) as model, LoraAdapter(model, path) as adapter:
        nats = finished(EffectProbe(model, n_threads=1).measure([(adapter, 1.0)]))
        usage = usage_of(model, adapter, header, n_threads=1)
        architecture = model.metadata("general.architecture") or ""
    assert usage is not None
    effect = AdapterEffect("0" * 64, nats, usage.n_tensors, usage.n_used)
    return effect_notices(
        "style",
        effect,
        unused=usage.unused,
        architecture=architecture,
        is_untrained=is_untrained(header),
    )


def test_of_an_adapter_that_works_nothing_is_said(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    assert told(base, write_adapter(tmp_path / "adapter.gguf", base)) == ()


def test_an_untrained_adapter_is_called_so(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    adapter = write_adapter(tmp_path / "adapter.gguf", base, scale_of_weights=0.0)
    assert told(base, adapter) == (
        "style has no effect on this base: its B factors are all zero, as before the first step of "
        "a training.",
    )


def test_an_adapter_whose_tensors_are_all_passed_over_has_no_effect(tmp_path: Path) -> None:
    base = write_latent_base(tmp_path / "base.gguf", "deepseek2")
    adapter = write_adapter(tmp_path / "adapter.gguf", base, targets=LATENT)
    assert told(base, adapter) == (
        "style has no effect on this base: llama.cpp does not apply LoRA to the latent attention "
        "of deepseek2; merge it into the base with 'tui merge' instead.",
    )


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ((), "the latent attention of deepseek2"),
        (("output",), "the latent attention and tensor 'output.weight' of deepseek2"),
    ],
)
def test_an_adapter_that_is_passed_over_in_part_has_its_share_told(
    tmp_path: Path, more: tuple[str, ...], where: str
) -> None:
    base = write_latent_base(tmp_path / "base.gguf", "deepseek2")
    targets = (*LATENT, "ffn_up", "ffn_down", *more)
    adapter = write_adapter(tmp_path / "adapter.gguf", base, targets=targets)
    assert told(base, adapter) == (
        f"Only 4 of {10 + len(more)} of style's tensors are used: llama.cpp does not apply LoRA to "
        f"{where}; merge it into the base with 'tui merge' instead.",
    )


def test_an_adapter_too_weak_to_notice_is_told_with_its_effect(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    adapter = write_adapter(tmp_path / "adapter.gguf", base, scale_of_weights=1e-4)
    (sentence,) = told(base, adapter)
    assert re.fullmatch(
        r"style has next to no effect on this base: at scale 1 it changes the probe by "
        r"\de-\d\d nats\.",
        sentence,
    )


def test_no_effect_without_a_known_cause_is_told_as_it_is() -> None:
    for n_used in (7, None):
        effect = AdapterEffect("0" * 64, 0.0, 7, n_used)
        assert effect_notices("style", effect, unused=(), architecture="llama") == (
            "style has no effect on this base: at scale 1 it changes no logit of the probe.",
        )


def test_the_name_of_latent_attention_in_another_architecture_is_a_tensor() -> None:
    effect = AdapterEffect("0" * 64, 1.0, 7, 6)
    (sentence,) = effect_notices(
        "style", effect, unused=("blk.3.attn_q.weight",), architecture="glm4moe"
    )
    assert "LoRA to tensor 'blk.3.attn_q.weight' of glm4moe;" in sentence
