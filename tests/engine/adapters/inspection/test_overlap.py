"""Overlaps are the cosines of the deltas formed in numpy, and the sentences say what they are."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.adapters.inspection.inspect import Inspection, inspect, measured
from engine.adapters.inspection.overlap import Overlap, overlaps
from engine.errors import Cancelled
from tests.support.dense_delta import deltas_of
from tests.support.gguf_raw import RawGguf
from tests.support.tiny_models import Architecture, write_adapter, write_base

Q0, Q1 = "blk.0.attn_q.weight", "blk.1.attn_q.weight"


def of(path: Path) -> Inspection:
    """Return the measured inspection of an adapter."""
    return measured(inspect(path))


def written(path: Path, pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> Inspection:
    """Write an adapter of the given A and B at scale 1 and return its inspection."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 0.0)
    for target, (a, b) in pairs.items():
        writer.add_tensor(f"{target}.lora_a", np.ascontiguousarray(a, np.float32))
        writer.add_tensor(f"{target}.lora_b", np.ascontiguousarray(b, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return of(path)


def at_angle(folder: Path, cosine: float, targets: tuple[str, ...] = (Q0, Q1)) -> Overlap:
    """Return the overlap of two adapters of rank 1 whose deltas have this cosine everywhere."""
    a = np.eye(1, 16)
    x, y = np.zeros((8, 1)), np.zeros((8, 1))
    x[0], y[0], y[1] = 1.0, cosine, np.sqrt(1.0 - cosine**2)
    first = written(folder / "first.gguf", dict.fromkeys(targets, (a, x)))
    second = written(folder / "second.gguf", dict.fromkeys(targets, (a, 3.0 * y)))
    return overlaps([first, second])[0]


def cosine_of(first: dict[str, np.ndarray], second: dict[str, np.ndarray], part: str = "") -> float:
    """Return the cosine over the tensors whose names contain `part`, of all if it is empty."""
    common = [name for name in first if name in second and part in name]
    product = sum(np.sum(first[name] * second[name]) for name in common)
    names = (common, common) if part else (list(first), list(second))
    sizes = [
        np.sqrt(sum(np.sum(deltas[name] ** 2) for name in own))
        for deltas, own in zip((first, second), names, strict=True)
    ]
    return float(product / np.prod(sizes))


@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
def test_cosines_are_those_of_the_deltas(tmp_path: Path, architecture: Architecture) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture)
    lists = (["attn_q", "attn_v", "token_embd"], ["attn_v", "token_embd"], None)
    paths = [
        write_adapter(tmp_path / f"{i}.gguf", base, rank=3 + i, seed=i, targets=targets)
        for i, targets in enumerate(lists)
    ]
    # Random deltas are all but at right angles: a common part makes the numbers differ from 0.
    raws = [RawGguf.read(path) for path in paths]
    for half in ("lora_a", "lora_b"):
        name = f"blk.1.attn_v.weight.{half}"
        raws[1].tensors[name] = raws[0].tensors[name]
    raws[1].write(paths[1])
    found = overlaps([of(path) for path in paths])
    deltas = [deltas_of([(path, 1.0)]) for path in paths]
    for overlap, (i, j) in zip(found, combinations(range(3), 2), strict=True):
        assert overlap.cosine == pytest.approx(cosine_of(deltas[i], deltas[j]), abs=1e-7)
        assert set(overlap.common) == set(deltas[i]) & set(deltas[j])
        for name, products in overlap.common.items():
            expected = cosine_of(deltas[i], deltas[j], name)
            assert products.cosine == pytest.approx(expected, abs=1e-6)
        for module, cosine in overlap.by_module().items():
            assert cosine == pytest.approx(cosine_of(deltas[i], deltas[j], module), abs=1e-6)
        for layer, cosine in overlap.by_layer().items():
            expected = cosine_of(deltas[i], deltas[j], f"blk.{layer}.")
            assert cosine == pytest.approx(expected, abs=1e-6)
    assert found[0].common["blk.1.attn_v.weight"].cosine == pytest.approx(1.0)
    assert "attn_v" in found[0].sentence


@pytest.mark.parametrize(
    ("cosine", "words"),
    [
        (1.0, "pull the same way (cosine 1.00 over 2 shared tensors)"),
        (0.31, "pull the same way"),
        (0.29, "pull partly the same way"),
        (0.06, "pull partly the same way"),
        (0.04, "hardly overlap (cosine 0.04"),
        (0.0, "hardly overlap (cosine 0.00"),
        (-0.001, "hardly overlap (cosine 0.00"),
        (-0.06, "pull slightly against each other"),
        (-0.31, "pull against each other (cosine -0.31"),
    ],
)
def test_the_sentence_follows_the_cosine(tmp_path: Path, cosine: float, words: str) -> None:
    overlap = at_angle(tmp_path, cosine)
    assert overlap.cosine == pytest.approx(cosine, abs=1e-6)
    assert overlap.sentence.startswith(f"first and second {words}")
    assert overlap.sentence.endswith(".")
    assert "most in" not in overlap.sentence, "it is the same everywhere"


def test_the_sentence_says_where_they_overlap_most(tmp_path: Path) -> None:
    a, b = np.eye(1, 16), np.eye(8, 1)
    first = written(tmp_path / "first.gguf", {Q0: (a, b), Q1: (a, b)})
    second = written(tmp_path / "second.gguf", {Q0: (a, b), Q1: (np.roll(a, 1), b)})
    (overlap,) = overlaps([first, second])
    assert overlap.cosine == pytest.approx(0.5)
    assert overlap.sentence.endswith("; most in layer 0 (1.00).")


def test_other_tensors_are_no_overlap(tmp_path: Path) -> None:
    a, b = np.eye(1, 16), np.eye(8, 1)
    first = written(tmp_path / "first.gguf", {Q0: (a, b)})
    second = written(tmp_path / "second.gguf", {Q1: (a, b)})
    (overlap,) = overlaps([first, second])
    assert (overlap.cosine, len(overlap.common)) == (0.0, 0)
    assert "change different tensors" in overlap.sentence


def test_what_only_one_changes_counts_towards_its_size(tmp_path: Path) -> None:
    a, b = np.eye(1, 16), np.eye(8, 1)
    first = written(tmp_path / "first.gguf", {Q0: (a, b)})
    second = written(tmp_path / "second.gguf", {Q0: (a, b), Q1: (a, b)})
    assert overlaps([first, second])[0].cosine == pytest.approx(np.sqrt(0.5))


def test_nothing_has_no_direction(tmp_path: Path) -> None:
    a, b = np.eye(1, 16), np.eye(8, 1)
    first = written(tmp_path / "first.gguf", {Q0: (a, b)})
    second = written(tmp_path / "second.gguf", {Q0: (a, 0 * b)})
    (overlap,) = overlaps([first, second])
    assert overlap.cosine is None
    assert overlap.sentence.startswith("second changes nothing")


def test_adapters_of_other_models_are_not_compared(tmp_path: Path) -> None:
    bases = [
        write_base(tmp_path / f"{kind}.gguf", architecture=kind) for kind in ("llama", "qwen2")
    ]
    found = [of(write_adapter(tmp_path / f"a{i}.gguf", base)) for i, base in enumerate(bases)]
    small = written(tmp_path / "small.gguf", {Q0: (np.eye(1, 16), np.eye(8, 1))})
    same, *_ = overlaps([found[0], found[1]])
    other_size, *_ = overlaps([found[0], small])
    for overlap in (same, other_size):
        assert overlap.cosine is None
        assert "made for different models" in overlap.sentence


def test_comparing_stops_when_asked_and_tells_how_far_it_is(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    found = [of(write_adapter(tmp_path / f"{i}.gguf", base, seed=i)) for i in (1, 2)]
    fractions: list[float] = []
    overlaps(found, on_fraction=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    with pytest.raises(Cancelled):
        overlaps(found, is_cancelled=lambda: True)
