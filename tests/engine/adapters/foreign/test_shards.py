"""An adapter in several files is read whole, and never in part."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.foreign.read import read_source
from engine.errors import AdapterError
from tests.support.adapter_cases import CASES, error
from tests.support.peft_folders import pair, safetensors_bytes, torch_bytes, write_mlx, write_peft

FIRST, SECOND = (f"adapter_model-0000{n}-of-00002.safetensors" for n in (1, 2))
INDEX = "adapter_model.safetensors.index.json"
N_MODULES = 14


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of an adapter in two shards with an index."""
    return Path(shutil.copytree(CASES / "sharded", tmp_path / "sharded"))


def refusal(path: Path) -> str:
    with pytest.raises(AdapterError) as raised:
        read_source(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("named", ["", FIRST, SECOND, INDEX, "adapter_config.json"])
def test_all_shards_are_read_whichever_is_named(folder: Path, tmp_path: Path, named: str) -> None:
    assert error(folder / named, tmp_path / "out.gguf") < 2e-3  # float16 halves cause 1.1e-3
    source = read_source(folder / named)
    assert len(source.modules) == N_MODULES
    assert [file.name for file in source.files] == ["adapter_config.json", FIRST, SECOND]
    is_lone = named in (FIRST, SECOND)
    assert is_lone == any("one of 2 parts, which were all read" in n for n in source.notices)


def test_the_hash_is_that_of_all_shards(folder: Path) -> None:
    before = read_source(folder).sha256
    content = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert read_source(folder).sha256 != before


def test_without_an_index_the_numbers_tell_what_is_whole(folder: Path) -> None:
    (folder / INDEX).unlink()
    assert len(read_source(folder).modules) == N_MODULES
    (folder / SECOND).unlink()
    assert f"belongs to 2 parts that lack {SECOND!r}: download" in refusal(folder)
    assert f"{SECOND!r}: download them too" in refusal(folder / FIRST)


@pytest.mark.parametrize("missing", [FIRST, SECOND])
def test_a_missing_shard_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    (there,) = {FIRST, SECOND} - {missing}
    for path in (folder, folder / there, folder / INDEX):
        assert repr(missing) in refusal(path)


def test_the_index_decides_what_belongs_together(folder: Path) -> None:
    listing = json.loads((folder / INDEX).read_text())
    first = next(iter(listing["weight_map"]))
    listing["weight_map"]["base_model.model.model.layers.9.x"] = SECOND
    (folder / INDEX).write_text(json.dumps(listing))
    assert "weights that lack 'base_model.model.model.layers.9.x': download" in refusal(folder)
    del listing["weight_map"]["base_model.model.model.layers.9.x"], listing["weight_map"][first]
    (folder / INDEX).write_text(json.dumps(listing))
    assert f"hold, unknown to it, {first!r}" in refusal(folder)


def test_a_lone_shard_under_the_whole_files_name_is_no_adapter(folder: Path) -> None:
    (folder / FIRST).rename(folder / "adapter_model.safetensors")
    assert "weights that lack 'base_model.model.model.layers.1" in refusal(folder)


def test_a_tensor_in_two_shards(folder: Path) -> None:
    shutil.copy(folder / FIRST, folder / SECOND)
    (folder / INDEX).unlink()
    assert f"as {FIRST} has" in refusal(folder)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda listing: {},
        lambda listing: {"weight_map": {}},
        lambda listing: {"weight_map": dict.fromkeys(listing["weight_map"], f"../{FIRST}")},
        lambda listing: {"weight_map": dict.fromkeys(listing["weight_map"], 3)},
    ],
)
def test_a_damaged_index(folder: Path, spoil: Callable[[dict[str, object]], object]) -> None:
    index = folder / INDEX
    index.write_text(json.dumps(spoil(json.loads(index.read_text()))))
    assert f"{index} is damaged" in refusal(folder)


def test_shards_of_torchs_format(tmp_path: Path) -> None:
    pairs = {f"model.layers.{n}.self_attn.v_proj": pair(6, 4, 2, n) for n in range(2)}
    write_peft(tmp_path, {}, alpha=2, r=2)
    (tmp_path / "adapter_model.safetensors").unlink()
    listing = {}
    for number, (path, (a, b)) in enumerate(pairs.items(), 1):
        file = tmp_path / f"adapter_model-0000{number}-of-00002.bin"
        stem = f"base_model.model.{path}.lora_"
        named = {f"{stem}A.weight": a, f"{stem}B.weight": b}
        torch_bytes(file, named)
        listing |= dict.fromkeys(named, file.name)
    for index in (None, tmp_path / "adapter_model.bin.index.json"):
        if index:
            index.write_text(json.dumps({"weight_map": listing}))
        modules = read_source(tmp_path).modules
        assert [module.path for module in modules] == list(pairs)
        for module, (a, b) in zip(modules, pairs.values(), strict=True):
            np.testing.assert_array_equal(module.a.read(), a)
            np.testing.assert_array_equal(module.b.read(), b)
    file.unlink()
    assert repr(file.name) in refusal(tmp_path)


def test_shards_of_mlx(tmp_path: Path) -> None:
    a, b = pair(6, 4, 2)
    write_mlx(tmp_path, {"model.layers.0.self_attn.v_proj": (a, b)}, scale=1, r=2)
    (tmp_path / "adapters.safetensors").unlink()
    for number, (part, values) in enumerate({"a": a.T, "b": b.T}.items(), 1):
        content = safetensors_bytes({f"model.layers.0.self_attn.v_proj.lora_{part}": values})
        (tmp_path / f"adapters-0000{number}-of-00002.safetensors").write_bytes(content)
    (module,) = read_source(tmp_path).modules
    np.testing.assert_array_equal(module.b.read(), b)
