"""How much of a stack is in the merged file is measured, and too little is refused."""

from __future__ import annotations

import re
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from engine.adapters.factors import stacked_factors
from engine.adapters.merging.blocks import delta_energy
from engine.adapters.merging.merge import merge
from engine.adapters.merging.record import TensorMerge, require_retained, share_retained
from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.weights import WeightFile
from tests.support import tiny_models
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.merging import (
    WIDE,
    parts_of,
    write_quantised,
    write_stack,
)
from tests.support.tiny_models import write_adapter, write_base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf")


@pytest.fixture
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 256 and 512 values."""
    for name, value in WIDE.items():
        monkeypatch.setattr(tiny_models, name, value)


def parts_left(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".part")]


@pytest.mark.usefixtures("_wide")
@pytest.mark.parametrize("type_", [GgmlType.Q8_0, GgmlType.Q6_K, GgmlType.Q4_K])
def test_the_retained_share_is_numpys(tmp_path: Path, type_: GgmlType) -> None:
    full = write_base(tmp_path / "full.gguf", n_layer=1)
    base = write_quantised(full, tmp_path / "base.gguf", type_)
    stack = write_stack(full, tmp_path, scale_of_weights=0.004)
    merged = merge(base, parts_of(stack), tmp_path / "out.gguf", type="keep", is_forced=True)
    before, after, deltas = tensors_of(base), tensors_of(merged.path), deltas_of(stack)
    kept = {name: float(((after[name] - before[name]) * d).sum()) for name, d in deltas.items()}
    wanted = {name: float((d * d).sum()) for name, d in deltas.items()}
    for tensor in merged.tensors:
        assert tensor.to_type is type_
        expected = kept[tensor.name] / wanted[tensor.name]
        assert tensor.retained == pytest.approx(expected, abs=1e-4)
    assert merged.retained == pytest.approx(sum(kept.values()) / sum(wanted.values()), abs=1e-4)
    assert merged.retained < 0.9


def test_under_90_percent_nothing_is_written_unless_forced(tmp_path: Path, base: Path) -> None:
    quantised = write_quantised(base, tmp_path / "q4_0.gguf", GgmlType.Q4_0)
    parts = parts_of(write_stack(base, tmp_path, scale_of_weights=0.01))
    out = tmp_path / "out.gguf"
    with pytest.raises(AdapterError) as caught:
        merge(quantised, parts, out, type="keep")
    message = str(caught.value)
    assert message.startswith("Only ")
    for remedy in ("q4_0", "--outtype f16", "--from-original", "tui fuse", "--force"):
        assert remedy in message
    assert not out.exists()
    assert parts_left(tmp_path) == []
    merged = merge(quantised, parts, out, type="keep", is_forced=True)
    n_seen = int(re.findall(r"in the first (\d+) tensors", message)[0])
    assert 0 < n_seen < len(merged.tensors)  # a hopeless merge is not done to its end
    assert f"Only {share_retained(merged.tensors[:n_seen]):.1%} of" in message
    assert merge(quantised, parts, out).retained > 0.99


@pytest.mark.parametrize(("wanted", "is_refused"), [(9.9, True), (10.1, False)])
def test_what_is_still_to_come_is_taken_to_be_kept_whole(wanted: float, is_refused: bool) -> None:
    lost = [TensorMerge("x", GgmlType.Q4_K, GgmlType.Q4_K, kept=0.0, wanted=1.0)]
    with pytest.raises(AdapterError) if is_refused else nullcontext():
        require_retained(lost, wanted)


def test_a_stack_that_cancels_itself_out_is_refused_as_that(tmp_path: Path, base: Path) -> None:
    # What is left of it is rounding, of which no type holds a share worth the name.
    lora, other = (write_adapter(tmp_path / f"{n}.gguf", base, seed=n) for n in (1, 2))
    scales = ((lora, 0.7), (other, 0.4), (lora, -0.7), (other, -0.4))
    out = tmp_path / "out.gguf"
    with pytest.raises(AdapterError, match="cancel each other out"):
        merge(base, parts_of(scales), out)
    assert not out.exists()
    assert merge(base, parts_of(((lora, 0.7), (lora, -0.699))), out).retained > 0.99


@pytest.mark.parametrize(
    ("type_", "remedy"),
    [(GgmlType.F32, None), (GgmlType.F16, "--outtype f32"), (GgmlType.Q8_0, "--outtype f16")],
)
def test_a_change_below_all_precision_is_refused_with_what_is_finer(
    tmp_path: Path, base: Path, type_: GgmlType, remedy: str | None
) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", base)
    with pytest.raises(AdapterError) as caught:
        merge(base, parts_of([(lora, 1e-9)]), tmp_path / "out.gguf", type=type_)
    message = str(caught.value)
    assert f"as {type_.name.lower()} is too coarse" in message
    share = float(re.findall(r"Only (.+?)% of", message)[0])
    assert 0.0 <= share < 90.0
    finer = re.findall("--outtype f(?:16|32)", message)
    assert finer == ([] if remedy is None else [remedy])


@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
def test_the_size_of_a_delta_is_known_from_its_factors(
    tmp_path: Path, architecture: tiny_models.Architecture
) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture)
    stack = write_stack(base, tmp_path)
    parts = parts_of(stack)
    with ExitStack() as files:
        loras = [files.enter_context(WeightFile(part.header)) for part in parts]
        for name, delta in deltas_of(stack).items():
            factors = stacked_factors(name, parts, loras)
            assert factors is not None
            assert delta_energy(factors) == pytest.approx(float((delta**2).sum()), rel=1e-5)


def test_an_older_output_stands_where_a_merge_fails(tmp_path: Path, base: Path) -> None:
    quantised = write_quantised(base, tmp_path / "q4_0.gguf", GgmlType.Q4_0)
    out = tmp_path / "out.gguf"
    out.write_bytes(b"older")
    parts = parts_of(write_stack(base, tmp_path, scale_of_weights=0.01))
    with pytest.raises(AdapterError):
        merge(quantised, parts, out, type="keep")
    assert out.read_bytes() == b"older"
