"""A compressed stack is the best of its rank, and what it says of itself is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.checking.check import require_fit
from engine.adapters.fusing.compress import RANK_KEY, compressed, summed_ranks, write_compressed
from engine.adapters.fusing.energy import least, whole
from engine.adapters.fusing.file import fused_stack
from engine.errors import AdapterError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from tests.support.dense_delta import Doubles, deltas_of, tensors_of
from tests.support.gguf_raw import RawGguf
from tests.support.merging import Stack, parts_of
from tests.support.tiny_models import write_adapter, write_base

TARGETS = ("attn_q", "ffn_down_exps", "token_embd")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf", architecture="mixtral")


@pytest.fixture
def stack(tmp_path: Path, base: Path) -> Stack:
    first = write_adapter(tmp_path / "first.gguf", base, rank=4, seed=1, targets=TARGETS)
    second = write_adapter(tmp_path / "second.gguf", base, rank=6, seed=2, targets=TARGETS)
    return [(first, 0.7), (second, -1.5)]


def best(delta: Doubles, rank: int) -> tuple[Doubles, float, float]:
    """Return the best approximation, matrix by matrix, and the squared norms kept and in all."""
    u, s, vt = np.linalg.svd(delta, full_matrices=False)
    kept = (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]
    return kept, float((s[..., :rank] ** 2).sum()), float((s**2).sum())


@pytest.mark.parametrize("rank", [1, 3, 9])
def test_every_tensor_is_the_best_of_its_rank(
    rank: int, base: Path, stack: Stack, tmp_path: Path
) -> None:
    out = tmp_path / "out.gguf"
    modules = write_compressed(parts_of(stack), out, rank, type_=GgmlType.F32)
    require_fit(out, base)
    exact, found = deltas_of(stack), deltas_of([(out, 1.0)])
    assert [module.target for module in modules] == list(exact)
    kept = total = 0.0
    for module in modules:
        expected, kept_here, total_here = best(exact[module.target], rank)
        np.testing.assert_allclose(found[module.target], expected, rtol=0, atol=1e-5)
        assert module.energy.share == pytest.approx(kept_here / total_here, abs=1e-7)
        assert module.rank == rank
        kept, total = kept + kept_here, total + total_here
    assert whole(modules).share == pytest.approx(kept / total, abs=1e-7)
    assert least(modules).energy.share == min(module.energy.share for module in modules) < 1.0


def test_a_rank_that_is_high_enough_changes_no_factor(stack: Stack) -> None:
    parts = parts_of(stack)
    assert set(summed_ranks(parts).values()) == {10}
    for whole_one, same in zip(compressed(parts, None), compressed(parts, 10), strict=True):
        assert same.energy.share == 1.0
        np.testing.assert_array_equal(same.factors.a, whole_one.factors.a)
        np.testing.assert_array_equal(same.factors.b, whole_one.factors.b)


def test_a_tensor_of_one_adapter_alone_keeps_its_own_rank(base: Path, tmp_path: Path) -> None:
    first = write_adapter(tmp_path / "a.gguf", base, rank=4, targets=["attn_q"])
    second = write_adapter(tmp_path / "b.gguf", base, rank=6, seed=2, targets=["attn_q", "attn_v"])
    parts = parts_of([(first, 1.0), (second, 1.0)])
    ranks = {each.module.target: each.module.rank for each in compressed(parts, 8)}
    assert ranks["blk.0.attn_q.weight"] == 8
    assert ranks["blk.0.attn_v.weight"] == 6


def test_an_adapter_twice_has_the_rank_of_one(base: Path, tmp_path: Path) -> None:
    one = write_adapter(tmp_path / "a.gguf", base, rank=4)
    for each in compressed(parts_of([(one, 1.0), (one, 0.5)]), 6):
        assert (each.factors.rank, each.energy.share) == (4, pytest.approx(1.0, abs=1e-12))


@pytest.mark.parametrize("weight", [1e-4, 1.0, 3e3])
def test_f16_holds_both_halves(weight: float, base: Path, tmp_path: Path) -> None:
    stack = [
        (write_adapter(tmp_path / f"{s}.gguf", base, seed=s, scale_of_weights=weight), 1.0)
        for s in (1, 2)
    ]
    out = tmp_path / "out.gguf"
    write_compressed(parts_of(stack), out, 6)
    assert {tensor.type for tensor in read_header(out).tensors.values()} == {GgmlType.F16}
    for target, delta in deltas_of([(out, 1.0)]).items():
        expected = best(deltas_of(stack)[target], 6)[0]
        assert np.linalg.norm(delta - expected) < 1e-3 * np.linalg.norm(expected)


def test_what_f16_cannot_hold_becomes_f32(base: Path, tmp_path: Path) -> None:
    stack = [
        (write_adapter(tmp_path / f"{s}.gguf", base, seed=s, scale_of_weights=1e-9), 1.0)
        for s in (1, 2)
    ]
    out = tmp_path / "out.gguf"
    write_compressed(parts_of(stack), out, 6)
    assert {tensor.type for tensor in read_header(out).tensors.values()} == {GgmlType.F32}


def test_the_file_names_the_stack_and_the_rank(stack: Stack, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    parts = parts_of([*stack, (stack[0][0], 0.0)])
    write_compressed(parts, out, 3, texts={"general.name": "mix"})
    header = read_header(out)
    names = [(part.sha256, pytest.approx(part.scale)) for part in parts[:2]]
    assert list(fused_stack(header) or ()) == names
    assert (header.integer(RANK_KEY), header.text("general.name")) == (3, "mix")


def test_equal_arguments_write_equal_bytes(stack: Stack, tmp_path: Path) -> None:
    files = [tmp_path / "1.gguf", tmp_path / "2.gguf"]
    for file in files:
        write_compressed(parts_of(stack), file, 3)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_nothing_is_left_of_what_was_given_up(stack: Stack, tmp_path: Path) -> None:
    def give_up(_target: str, fraction: float) -> None:
        if fraction > 0.4:
            raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        write_compressed(parts_of(stack), tmp_path / "out.gguf", 3, on_progress=give_up)
    assert sorted(tmp_path.iterdir()) == before


def test_numbers_that_are_not_finite_are_refused(stack: Stack, tmp_path: Path) -> None:
    path = stack[0][0]
    name = "blk.1.attn_q.weight.lora_a"
    values = tensors_of(path)[name].astype(np.float32)
    values[0, 0] = np.nan
    raw = RawGguf.read(path)
    raw.replace_array(name, values)
    raw.write(path)
    with pytest.raises(AdapterError, match=r"blk\.1\.attn_q\.weight.*not finite"):
        write_compressed(parts_of(stack), tmp_path / "out.gguf", 3)
    assert not (tmp_path / "out.gguf").exists()


def test_a_stack_at_scale_zero_is_refused(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="nothing to fuse"):
        write_compressed(parts_of([(stack[0][0], 0.0)]), tmp_path / "out.gguf", 3)
