"""An inspection says what a file is, what it changes and how much, and never ends in a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.checking.rules import Rule
from engine.adapters.inspection.base_norms import BaseNorms
from engine.adapters.inspection.inspect import Inspection, inspect, measured
from engine.adapters.inspection.norm_grid import norm_grid
from engine.adapters.inspection.overlap import overlaps
from engine.adapters.read import read_adapter
from engine.errors import AdapterError, Cancelled, GgufError
from engine.gguf.header import read_header
from engine.gguf.metadata import ValueType
from engine.gguf.model_header import require_base
from tests.engine.adapters.broken_adapters import CASES
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.gguf_raw import RawGguf, RawValue, text
from tests.support.tiny_models import Architecture, Dtype, write_adapter, write_base

NO_LORA = {Rule.NOT_ADAPTER, Rule.NOT_LORA}
OF_ITSELF = {case for case in CASES if not CASES[case].rules & NO_LORA}


def of(adapter: Path, base: Path | None = None) -> Inspection:
    """Return the measured inspection of an adapter."""
    header = None if base is None else require_base(base)
    return measured(inspect(adapter, base=header), BaseNorms())


def with_metadata(path: Path, **metadata: RawValue) -> Path:
    """Add metadata to an adapter; `__` in a key stands for a full stop."""
    raw = RawGguf.read(path)
    raw.metadata.update({key.replace("__", "."): value for key, value in metadata.items()})
    return raw.write(path)


@pytest.mark.parametrize("dtype", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
def test_norms_are_those_of_the_deltas_and_weights(
    tmp_path: Path, architecture: Architecture, dtype: Dtype
) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture, dtype=dtype)
    targets = ["attn_q", "attn_output", "ffn_down", "ffn_down_exps", "token_embd"]
    adapter = write_adapter(
        tmp_path / "a.gguf", base, rank=6, alpha=9.0, targets=targets, dtype="f16"
    )
    found = of(adapter, base)
    weights = tensors_of(base)
    expected = deltas_of([(adapter, 1.0)])
    assert set(found.deltas) == set(expected) == {target.name for target in found.targets}
    for name, delta in expected.items():
        assert found.deltas[name].frobenius == pytest.approx(np.linalg.norm(delta), rel=1e-6)
        share = np.linalg.norm(delta) / np.linalg.norm(weights[name])
        assert found.relative(name) == pytest.approx(share, rel=1e-6)
    whole = np.sqrt(sum(np.sum(delta**2) for delta in expected.values()))
    assert found.total_norm == pytest.approx(whole, rel=1e-6)


def test_the_grid_has_a_row_for_each_layer_and_the_rest_beside_it(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", n_layer=3)
    adapter = write_adapter(
        tmp_path / "a.gguf", base, targets=["ffn_up", "token_embd", "attn_v", "attn_q"]
    )
    raw = RawGguf.read(adapter)
    for half in ("a", "b"):
        del raw.tensors[f"blk.1.attn_v.weight.lora_{half}"]
    raw.write(adapter)
    grid = norm_grid(of(adapter, base))
    assert grid is not None
    assert grid.is_relative
    assert (grid.layers, grid.modules) == ((0, 1, 2), ("attn_q", "attn_v", "ffn_up"))
    deltas, weights = deltas_of([(adapter, 1.0)]), tensors_of(base)

    def share(*names: str) -> float:
        over = sum(np.sum(deltas[f"{name}.weight"] ** 2) for name in names)
        return float(np.sqrt(over / sum(np.sum(weights[f"{n}.weight"] ** 2) for n in names)))

    for layer, row in zip(grid.layers, grid.cells, strict=True):
        for module, value in zip(grid.modules, row, strict=True):
            is_there = (layer, module) != (1, "attn_v")
            expected = share(f"blk.{layer}.{module}") if is_there else None
            assert value == (pytest.approx(expected, rel=1e-6) if is_there else None)
    assert grid.by_layer[1] == pytest.approx(share("blk.1.attn_q", "blk.1.ffn_up"), rel=1e-6)
    assert grid.by_module[1] == pytest.approx(share("blk.0.attn_v", "blk.2.attn_v"), rel=1e-6)
    assert grid.others == (("token_embd", pytest.approx(share("token_embd"), rel=1e-6)),)
    assert grid.total == pytest.approx(
        share(*(name.removesuffix(".weight") for name in deltas)), rel=1e-6
    )


def test_without_a_base_the_grid_has_the_norms_themselves(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a.gguf", write_base(tmp_path / "base.gguf"))
    found = of(adapter)
    grid = norm_grid(found)
    assert grid is not None
    assert not grid.is_relative
    assert grid.total == pytest.approx(found.total_norm)
    assert grid.cells[0][0] == found.deltas["blk.0.attn_q.weight"].frobenius
    assert found.fits is None


def test_the_record_says_what_stacks_are_told(tmp_path: Path) -> None:
    adapter = write_adapter(
        tmp_path / "a.gguf", write_base(tmp_path / "base.gguf"), rank=6, alpha=9.0, name="My LoRA"
    )
    found, known = inspect(adapter), read_adapter(adapter)
    assert (found.name, found.sha256, found.path) == (known.name, known.sha256, known.file)
    assert (found.size_bytes, found.memory_bytes) == (known.size_bytes, known.memory_bytes)
    assert {target.rank for target in found.targets} == {6}
    assert {(target.alpha, target.scale) for target in found.targets} == {(9.0, 1.5)}
    q = found.targets[0]
    assert (q.place.layer, q.place.module, q.n_parameters) == (0, "attn_q", 6 * 128)
    assert found.n_parameters == sum(array.size for array in tensors_of(adapter).values())


def test_an_adapter_without_alpha_has_the_scale_one(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a.gguf", write_base(tmp_path / "base.gguf"), alpha=0.0)
    found = of(adapter)
    assert {(target.alpha, target.scale) for target in found.targets} == {(0.0, 1.0)}
    expected = np.linalg.norm(deltas_of([(adapter, 1.0)])["blk.0.attn_q.weight"])
    assert found.deltas["blk.0.attn_q.weight"].frobenius == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", sorted(OF_ITSELF))
def test_a_broken_adapter_is_inspected_with_the_rules_it_breaks(tmp_path: Path, name: str) -> None:
    base, adapter = CASES[name].write(tmp_path)
    found = of(adapter, base)
    assert {verdict.rule for verdict in found.broken} == CASES[name].rules
    assert [verdict.rule for verdict in found.verdicts] == list(Rule)
    assert found.fits is False
    norm_grid(found)
    overlaps([found, found])
    alone = of(adapter)
    norm_grid(alone)
    assert {verdict.rule for verdict in alone.broken} <= CASES[name].rules


@pytest.mark.parametrize("name", sorted(set(CASES) - OF_ITSELF))
def test_what_is_no_lora_is_refused(tmp_path: Path, name: str) -> None:
    base, adapter = CASES[name].write(tmp_path)
    with pytest.raises(AdapterError, match=r"^[^\n]+\.$"):
        inspect(adapter, base=require_base(base))


def test_halves_that_do_not_go_together_are_told_without_a_base(tmp_path: Path) -> None:
    found = of(CASES["too few experts in one half"].write(tmp_path)[1])
    assert not found.broken
    assert not found.deltas
    assert any("do not match" in notice for notice in found.notices)


def test_an_untrained_adapter_is_told(tmp_path: Path) -> None:
    adapter = write_adapter(
        tmp_path / "a.gguf", write_base(tmp_path / "base.gguf"), scale_of_weights=0.0
    )
    assert any("never trained" in notice for notice in of(adapter).notices)


def test_where_it_came_from_is_read_and_wrong_types_are_not(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf", name="Tiny")
    texts = ["lora", "x"]
    adapter = with_metadata(
        write_adapter(tmp_path / "a.gguf", base, description="Speaks."),
        general__author=text("Ada"),
        general__license=RawValue(ValueType.UINT32, 3),
        general__tags=RawValue(ValueType.ARRAY, texts, ValueType.STRING),
        general__base_model__count=RawValue(ValueType.UINT32, 4_000_000_000),
        general__base_model__0__name=text("Another"),
        general__base_model__0__organization=text("lab"),
        adapter__alora__invocation_tokens=RawValue(ValueType.ARRAY, [1, 2], ValueType.UINT32),
    )
    found = inspect(adapter, base=require_base(base))
    said = found.provenance
    assert (said.title, said.description, said.tags) == ("a", "Speaks.", ("lora", "x"))
    assert said.facts == (("author", "Ada"),)
    assert [(model.name, model.organization) for model in said.bases] == [("Another", "lab")]
    assert said.invocation_tokens == (1, 2)
    assert any("'Another'" in notice and "'Tiny'" in notice for notice in found.notices)


@pytest.mark.parametrize("name", ["tiny", "Tiny-Instruct", "TINY "])
def test_a_base_of_about_the_same_name_is_not_told(tmp_path: Path, name: str) -> None:
    base = write_base(tmp_path / "base.gguf", name="Tiny")
    adapter = with_metadata(
        write_adapter(tmp_path / "a.gguf", base),
        general__base_model__count=RawValue(ValueType.UINT32, 1),
        general__base_model__0__name=text(name),
    )
    assert inspect(adapter, base=require_base(base)).notices == ()


def test_measuring_stops_when_asked(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a.gguf", write_base(tmp_path / "base.gguf"))
    with pytest.raises(Cancelled):
        measured(inspect(adapter), is_cancelled=lambda: True)


def test_an_adapter_that_changed_is_not_measured(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    found = inspect(write_adapter(tmp_path / "a.gguf", base))
    write_adapter(tmp_path / "a.gguf", base, rank=8)
    with pytest.raises(GgufError, match="changed"):
        measured(found)
    assert read_header(found.path).file_size_bytes != found.size_bytes


def test_a_pair_in_every_layer_and_module_there_could_be_has_no_grid(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", write_base(tmp_path / "base.gguf"))
    raw = RawGguf.read(path)
    halves = [raw.tensors[f"blk.0.attn_q.weight.lora_{half}"] for half in ("a", "b")]
    raw.tensors = {
        f"blk.{index}.m{index}.weight.lora_{half}": tensor
        for index in range(300)
        for half, tensor in zip(("a", "b"), halves, strict=True)
    }
    found = of(raw.write(path))
    assert len(found.deltas) == 300
    assert norm_grid(found) is None
    (overlap,) = overlaps([found, found])
    assert overlap.cosine == pytest.approx(1.0)
    assert len(overlap.by_layer()) == len(overlap.by_module()) == 300
