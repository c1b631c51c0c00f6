"""An adapter of another program is inspected as it is: its own names, exact scales, real deltas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.adapters.inspection.inspect import measured
from engine.adapters.inspection.module_place import (
    ModulePlace,
    modules_in_order,
    place_of,
    place_of_module,
)
from engine.adapters.inspection.norm_grid import norm_grid
from engine.adapters.inspection.overlap import overlaps
from engine.adapters.inspection.source_inspect import inspect_source
from engine.errors import AdapterError
from tests.support.peft_folders import pair, write_mlx, write_peft

EXPERTS = "model.layers.0.mlp.experts"
Floats = np.ndarray


def stored(values: Floats) -> StoredTensor:
    """Return values as a tensor of a file."""
    floats = values.astype(np.float32)
    return StoredTensor("x", floats.shape, "f32", lambda: floats)


def source(path: Path, *modules: tuple[str, ModuleKind, Floats, Floats, float]) -> LoraSource:
    """Return an adapter of these modules: path, kind, A, B and scale."""
    file = path / "weights"
    file.write_bytes(bytes(1000))
    return LoraSource(
        path=path,
        files=(file,),
        kind="peft",
        modules=tuple(
            LoraModule(name, kind, stored(a), stored(b), scale)
            for name, kind, a, b, scale in modules
        ),
        sha256="ab" * 32,
        title="My adapter",
        base_name="lab/base",
        invocation_tokens=(5, 6),
        dropped=("vision.q", "vision.k"),
        notices=("It was quantised.",),
    )


def test_deltas_of_every_kind_are_those_of_their_meaning(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    linear = rng.standard_normal((4, 24)), rng.standard_normal((16, 4))
    embedding = rng.standard_normal((4, 50)), rng.standard_normal((24, 4))
    stacks = rng.standard_normal((3, 2, 24)), rng.standard_normal((3, 12, 2))
    found = measured(
        inspect_source(
            source(
                tmp_path,
                ("model.layers.3.self_attn.q_proj", ModuleKind.LINEAR, *linear, 0.5),
                ("model.embed_tokens", ModuleKind.EMBEDDING, *embedding, 2.0),
                (EXPERTS, ModuleKind.EXPERTS, *stacks, -1.5),
                (EXPERTS, ModuleKind.EXPERTS, *stacks, 3.0),
            )
        )
    )
    expected = {
        "model.layers.3.self_attn.q_proj": 0.5 * linear[1] @ linear[0],
        "model.embed_tokens": 2.0 * (embedding[1] @ embedding[0]).T,
        EXPERTS: -1.5 * stacks[1] @ stacks[0],
        f"{EXPERTS}.2": 3.0 * stacks[1] @ stacks[0],
    }
    assert list(found.deltas) == list(expected)
    with found.open_factors() as factors:
        for name, delta in expected.items():
            assert found.deltas[name].frobenius == pytest.approx(np.linalg.norm(delta), rel=1e-6)
            read = factors.read(name)
            whole = (read.b @ read.a).reshape(delta.shape)
            np.testing.assert_allclose(whole, delta, rtol=1e-5, atol=1e-5)
    (overlap,) = overlaps([found, found])
    assert overlap.cosine == pytest.approx(1.0)


def test_the_record_says_what_the_files_say(tmp_path: Path) -> None:
    a, b = pair(16, 24, 4)
    found = inspect_source(
        source(tmp_path, ("transformer.h.7.attn.c_attn", ModuleKind.LINEAR, a, b, 0.75))
    )
    assert (found.name, found.format, found.size_bytes) == ("my-adapter", "peft", 1000)
    assert (found.sha256, found.architecture, found.fits) == ("ab" * 32, "", None)
    assert [base.name for base in found.provenance.bases] == ["lab/base"]
    assert found.provenance.invocation_tokens == (5, 6)
    (target,) = found.targets
    assert target.place == ModulePlace(7, "attn.c_attn")
    assert (target.rank, target.alpha, target.scale) == (4, 3.0, 0.75)
    assert (target.n_parameters, target.size_bytes, target.a_type) == (160, 640, "F32")
    assert "It was quantised." in found.notices
    assert any("2 pairs" in notice for notice in found.notices)
    assert found.verdicts == ()


@pytest.mark.parametrize("kind", ["peft", "mlx"])
def test_what_the_readers_give_is_measured(tmp_path: Path, kind: str) -> None:
    modules = {f"model.layers.{n}.mlp.{m}_proj": pair(8, 8, 2) for n in (0, 1) for m in "ab"}
    if kind == "peft":
        folder = write_peft(tmp_path / "x", modules, alpha=4.0, r=2, dtype="bf16")
    else:
        folder = write_mlx(tmp_path / "x", modules, scale=2.0, r=2)
    grid = norm_grid(measured(inspect_source(read_source(folder))))
    assert grid is not None
    a, b = pair(8, 8, 2)
    assert grid.modules == ("mlp.a_proj", "mlp.b_proj")
    assert grid.cells[1] == pytest.approx([2.0 * np.linalg.norm(b @ a)] * 2, rel=1e-6)


def test_files_that_are_gone_are_told(tmp_path: Path) -> None:
    a, b = pair(16, 24, 4)
    gone = source(tmp_path, ("lm_head", ModuleKind.LINEAR, a, b, 1.0))
    gone.files[0].unlink()
    with pytest.raises(AdapterError, match="cannot be read"):
        inspect_source(gone)


@pytest.mark.parametrize(
    ("name", "layer", "module"),
    [
        ("blk.12.attn_q.weight", 12, "attn_q"),
        ("token_embd.weight", None, "token_embd"),
        ("enc.blk.0.ffn_up.weight", 0, "enc.ffn_up"),
        ("blk.x.attn_q.weight", None, "blk.x.attn_q"),
        ("blk.3.ssm_in", 3, "ssm_in"),
        ("", None, ""),
    ],
)
def test_tensors_have_places(name: str, layer: int | None, module: str) -> None:
    assert place_of(name) == ModulePlace(layer, module)


@pytest.mark.parametrize(
    ("path", "layer", "module"),
    [
        ("model.layers.12.self_attn.q_proj", 12, "self_attn.q_proj"),
        ("transformer.h.0.mlp.c_fc", 0, "mlp.c_fc"),
        ("gpt_neox.layers.3.attention.query_key_value", 3, "attention.query_key_value"),
        ("model.language_model.layers.1.mlp.up_proj", 1, "mlp.up_proj"),
        ("lm_head", None, "lm_head"),
    ],
)
def test_modules_have_places(path: str, layer: int | None, module: str) -> None:
    assert place_of_module(path) == ModulePlace(layer, module)


def test_modules_stand_in_the_order_of_the_computation() -> None:
    met = ["ffn_down", "ssm_in", "attn_k", "attn_q", "mlp.up_proj", "attn_k", "x"]
    assert modules_in_order(met) == ("attn_q", "attn_k", "ffn_down", "mlp.up_proj", "ssm_in", "x")
