"""Adapters of MLX become modules of PEFT's orientation, with the scale as it was given."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from engine.adapters.foreign.formats.npz import read_npz
from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraSource, ModuleKind
from engine.errors import AdapterError
from tests.support.peft_folders import Array, Dtype, Pairs, pair, safetensors_bytes, write_mlx

Q = "model.layers.0.self_attn.q_proj"
A, B = pair(6, 4, 2)
N_EXPERTS = 3
EXPERT_A = np.arange(24, dtype=np.float32).reshape(N_EXPERTS, 2, 4)
EXPERT_B = np.arange(30, dtype=np.float32).reshape(N_EXPERTS, 5, 2)


def source_of(folder: Path, modules: Pairs, **given: Any) -> LoraSource:
    """Return the MLX adapter with these modules, rank 2 and scale 20."""
    return read_source(write_mlx(folder, modules, **{"scale": 20.0, "r": 2, **given}))


@pytest.mark.parametrize("storage", ["safetensors", "npz"])
def test_a_linear_layer_is_turned_to_pefts_orientation(
    tmp_path: Path, storage: Literal["safetensors", "npz"]
) -> None:
    source = source_of(tmp_path, {Q: (A, B)}, storage=storage)
    assert (source.kind, source.base_name) == ("mlx", "mlx-community/tiny")
    (module,) = source.modules
    assert (module.path, module.kind, module.scale) == (Q, ModuleKind.LINEAR, 20.0)
    np.testing.assert_array_equal(module.a.read(), A)
    np.testing.assert_array_equal(module.b.read(), B)
    assert module.a.read().flags.c_contiguous


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_the_stored_type_is_told(tmp_path: Path, dtype: Dtype) -> None:
    (module,) = source_of(tmp_path, {Q: (A, B)}, dtype=dtype).modules
    assert (module.a.dtype, module.b.dtype) == (dtype, dtype)
    np.testing.assert_array_equal(module.a.read(), A)


def test_an_embedding_is_told_by_its_name(tmp_path: Path) -> None:
    a, b = pair(4, 9, 2)
    (module,) = source_of(tmp_path, {"model.embed_tokens": (a, b)}).modules
    assert module.kind is ModuleKind.EMBEDDING
    np.testing.assert_array_equal(module.a.read(), a)
    np.testing.assert_array_equal(module.b.read(), b)


@pytest.mark.parametrize("is_flat", [False, True])
def test_experts_are_kept_as_they_are(tmp_path: Path, is_flat: bool) -> None:
    # Older versions kept A of all experts in one matrix.
    tensors = {
        "model.layers.0.mlp.switch_mlp.up_proj.lora_a": EXPERT_A.reshape(6, 4)
        if is_flat
        else EXPERT_A,
        "model.layers.0.mlp.switch_mlp.up_proj.lora_b": EXPERT_B,
    }
    write_mlx(tmp_path, {}, scale=20.0, r=2)
    (tmp_path / "adapters.safetensors").write_bytes(safetensors_bytes(tensors))
    (module,) = read_source(tmp_path).modules
    assert (module.path, module.kind) == ("model.layers.0.mlp.experts.up_proj", ModuleKind.EXPERTS)
    np.testing.assert_array_equal(module.a.read(), EXPERT_A)
    np.testing.assert_array_equal(module.b.read(), EXPERT_B)


def test_a_text_model_inside_a_vision_model_is_read_alone(tmp_path: Path) -> None:
    modules = {f"language_model.{Q}": (A, B), "vision_tower.blocks.0.attn.qkv": (A, B)}
    source = source_of(tmp_path, modules)
    assert [module.path for module in source.modules] == [Q]
    assert source.dropped == ("vision_tower.blocks.0.attn.qkv",)


def test_an_alpha_of_the_present_mlx_counts_for_nothing(tmp_path: Path) -> None:
    parameters = {"rank": 2, "scale": 20.0, "alpha": 16, "dropout": 0.0}
    (module,) = source_of(tmp_path, {Q: (A, B)}, config={"lora_parameters": parameters}).modules
    assert module.scale == 20.0


def test_the_configuration_of_an_early_mlx_is_read(tmp_path: Path) -> None:
    folder = write_mlx(tmp_path, {Q: (A, B)}, scale=10.0, r=2, storage="npz")
    (folder / "adapter_config.json").write_text(
        '{"model": "x/y", "lora_layers": 16, "use_dora": false, "lora_parameters": '
        '{"keys": ["self_attn.q_proj"], "rank": 2, "alpha": 2.0, "scale": 10.0, "dropout": 0.0}}'
    )
    assert read_source(folder).modules[0].scale == 10.0


def parameters(**changes: object) -> dict[str, Any]:
    return {"config": {"lora_parameters": {"rank": 2, "scale": 20.0, **changes}}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA": ({"config": {"fine_tune_type": "dora"}}, "of the kind 'dora', not lora"),
    "DoRA of an early MLX": ({"config": {"use_dora": True}}, "of the kind 'dora', not lora"),
    "all weights": ({"config": {"fine_tune_type": "full"}}, "mlx_lm.fuse"),
    "a kind that is a number": ({"config": {"fine_tune_type": 3}}, "of the kind '3'"),
    "no parameters": ({"config": {"lora_parameters": None}}, "so its scale is not known"),
    "no configuration of MLX": ({"config": {"fine_tune_type": "lora"}, "bare": True}, "not known"),
    "no rank": (parameters(rank=None), "no whole number as its rank"),
    "negative rank": (parameters(rank=-2), "no whole number as its rank"),
    "rank that is true": (parameters(rank=True), "no whole number as its rank"),
    "another rank than stored": (parameters(rank=3), "do not fit each other or the rank 3"),
    "no scale": (parameters(scale=None), "no number as its scale"),
    "scale that is text": (parameters(scale="20"), "no number as its scale"),
    "scale 0": (parameters(scale=0), "scale of 0 or without bounds"),
    "scale of a thousand digits": (parameters(scale=10**1000), "without bounds"),
    "an early alpha": (
        {
            "config": {
                "fine_tune_type": "lora",
                "lora_parameters": {"rank": 2, "scale": 20.0, "alpha": 16},
            },
            "is_early": True,
        },
        "multiplied into the scale",
    ),
    "half a pair": ({"drop": f"{Q}.lora_b"}, f"half a pair at {Q!r}"),
    "DoRA's magnitudes": ({"add": {f"{Q}.m": B[:, 0]}}, "'model.layers.0.self_attn.q_proj.m'"),
    "whole weights": ({"add": {"lm_head.weight": B}}, "'lm_head.weight' beside its factors"),
    "factors of three and two dimensions": (
        {"add": {f"{Q}.lora_a": EXPERT_A}},
        "do not fit each other",
    ),
    "experts of two numbers": (
        {"add": {"m.switch_mlp.x.lora_a": EXPERT_A[:2], "m.switch_mlp.x.lora_b": EXPERT_B}},
        "do not fit each other",
    ),
    "empty factors": ({"add": {f"{Q}.lora_a": np.zeros((0, 2))}}, "empty factors"),
    "a vector": ({"add": {f"{Q}.lora_a": B[:, 0]}}, "do not fit each other"),
    "one module under two names": (
        {"add": {f"language_model.{Q}.lora_a": A.T, f"language_model.{Q}.lora_b": B.T}},
        "one module under several names",
    ),
    "nothing": ({"drop": f"{Q}.lora_a {Q}.lora_b"}, "holds no LoRA factors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_lora_is_refused(tmp_path: Path, case: str) -> None:
    given, said = REFUSED[case]
    write_mlx(tmp_path, {}, scale=20.0, r=2, config=given.get("config"))
    if given.get("bare"):
        (tmp_path / "adapter_config.json").write_text('{"rank": 2, "alpha": 0.1}')
    if given.get("is_early"):
        config = tmp_path / "adapter_config.json"
        config.write_text(config.read_text().replace("fine_tune_type", "lora_layers"))
    tensors: dict[str, Array] = {f"{Q}.lora_a": A.T, f"{Q}.lora_b": B.T, **given.get("add", {})}
    for name in given.get("drop", "").split():
        del tensors[name]
    (tmp_path / "adapters.safetensors").write_bytes(safetensors_bytes(tensors))
    with pytest.raises(AdapterError) as error:
        read_source(tmp_path)
    message = str(error.value)
    assert said in message
    assert message.endswith(".")
    assert "\n" not in message


def test_an_adapter_of_the_first_mlx_without_a_configuration_is_refused(tmp_path: Path) -> None:
    write_mlx(tmp_path, {Q: (A, B)}, scale=20.0, r=2, storage="npz")
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match="beside it, which gives the scale"):
        read_source(tmp_path)


def test_an_array_in_fortrans_order_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.asfortranarray(A), scalar=np.float16(2.5))
    tensors = read_npz(path)
    np.testing.assert_array_equal(tensors["x"].stored().read(), A)
    assert tensors["scalar"].stored().read() == 2.5


def test_compressed_arrays_are_inflated(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=A)
    np.testing.assert_array_equal(read_npz(path)["x"].stored().read(), A)


def array(head: bytes, n_data: int = 0, length: int | None = None) -> bytes:
    """Return an archive with one array of this header."""
    made = io.BytesIO()
    n_head = len(head) if length is None else length
    with zipfile.ZipFile(made, "w") as archive:
        content = b"\x93NUMPY\x01\x00" + n_head.to_bytes(2, "little") + head + bytes(n_data)
        archive.writestr("x.npy", content)
    return made.getvalue()


HOSTILE = {
    "no archive": (b"PK?", "not a sound ZIP archive"),
    "a safetensors file under this name": (b"\x02\0\0\0\0\0\0\0{}", "not a ZIP archive"),
    "a pickle of objects": (
        array(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", 4),
        "as '|O', not as floats",
    ),
    "integers": (
        array(b"{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }\n", 4),
        "as '<i4', not as floats",
    ),
    "a program as the header": (array(b"__import__('os').abort()"), "not a plain numpy array"),
    "more data than the shape": (
        array(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 5),
        "does not match its shape",
    ),
    "an endless shape": (
        array(b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }\n" % (b"9" * 600), 4),
        "does not match its shape",
    ),
    "a header longer than the entry": (array(b"{}", length=60_000), "not a plain numpy array"),
    "an empty array file": (array(b""), "not a plain numpy array"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_damaged_archive_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    content, said = HOSTILE[case]
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(AdapterError) as error:
        read_npz(path)
    assert said in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_only_numbered_checkpoints_give_the_newest(tmp_path: Path) -> None:
    for step in (100, 1000, 200):
        write_mlx(tmp_path, {Q: pair(6, 4, 2, step)}, scale=2, r=2)
        (tmp_path / "adapters.safetensors").rename(tmp_path / f"{step:07}_adapters.safetensors")
    source = read_source(tmp_path)
    assert source.files[1].name == "0001000_adapters.safetensors"
    np.testing.assert_array_equal(source.modules[0].b.read(), pair(6, 4, 2, 1000)[1])
    (notice,) = source.notices
    assert "of 3 checkpoints the newest was taken, 0001000_adapters.safetensors" in notice
    write_mlx(tmp_path, {Q: pair(6, 4, 2)}, scale=2, r=2)
    assert read_source(tmp_path).notices == ()
    assert read_source(tmp_path / "0000200_adapters.safetensors").notices == ()


def of_vlm(folder: Path, **config: object) -> Path:
    """Write an adapter as mlx-vlm did before it took over the names of mlx-lm."""
    a, b = pair(6, 4, 2)
    name = f"language_model.{Q}"
    folder.mkdir()
    tensors = {f"{name}.A": a.T, f"{name}.B": b.T, "vision_tower.blocks.0.attn.qkv.A": a.T}
    (folder / "adapters.safetensors").write_bytes(safetensors_bytes(tensors))
    fields = {"rank": 2, "alpha": 16, "dropout": 0.1} | config
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    return folder


def test_the_names_of_an_older_mlx_vlm(tmp_path: Path) -> None:
    source = read_source(of_vlm(tmp_path / "x"))
    (module,) = source.modules
    assert (module.path, module.scale) == (Q, 8)
    a, b = pair(6, 4, 2)
    np.testing.assert_array_equal(module.a.read(), a)
    np.testing.assert_array_equal(module.b.read(), b)
    assert "alpha / rank, 8, as mlx-vlm does since March 2026" in source.notices[0]
    assert "used at scale 2." in source.notices[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"rank": 2.5}, "no whole number as its rank"),
        ({"alpha": None}, "no number as its alpha"),
        ({"alpha": 0}, "an alpha of 0"),
    ],
)
def test_an_older_mlx_vlm_without_a_scale(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    with pytest.raises(AdapterError, match=said):
        read_source(of_vlm(tmp_path / "x", **config))
