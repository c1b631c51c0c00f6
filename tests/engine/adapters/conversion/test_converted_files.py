"""Adapters of other programs are converted once for each content, base and type."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engine.adapters.checking.check import require_fit
from engine.adapters.conversion import converted_files as cache_module
from engine.adapters.conversion.converted_files import Converted, converted
from engine.errors import AdapterError, Cancelled, EngineError
from tests.support.peft_folders import pair, write_peft
from tests.support.tiny_models import N_EMBD, write_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "base.gguf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache" / "converted"


def written(path: Path, seed: int = 0, alpha: float = 8) -> Path:
    modules = {"model.layers.0.self_attn.q_proj": pair(N_EMBD, N_EMBD, 4, seed=seed)}
    return write_peft(path, modules, alpha=alpha, r=4)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def test_a_second_use_converts_nothing(tmp_path: Path, base: Path, folder: Path) -> None:
    source = written(tmp_path / "style")
    first = converted(source, base, folder)
    second = converted(source, base, folder)
    assert (first.is_new, second.is_new) == (True, False)
    assert (first.path, first.title) == (second.path, "style")
    assert files(folder) == [first.path]
    require_fit(first.path, base)


def test_the_key_is_the_content_and_not_the_place(tmp_path: Path, base: Path, folder: Path) -> None:
    source = written(tmp_path / "style")
    copy = shutil.copytree(source, tmp_path / "elsewhere" / "style")
    first = converted(source, base, folder)
    assert converted(copy, base, folder) == Converted(first.path, "style", False, first.notices)
    written(source, seed=1)
    assert converted(source, base, folder).is_new
    written(source, seed=1, alpha=9)  # the same weights, another configuration
    assert converted(source, base, folder).is_new
    assert len(files(folder)) == 3


def test_bases_types_and_versions_are_kept_apart(
    tmp_path: Path, base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "style")
    other = write_base(tmp_path / "other.gguf", name="Other")
    paths = {
        converted(source, base, folder).path,
        converted(source, other, folder).path,
        converted(source, base, folder, out_type="f16").path,
    }
    assert len(paths) == 3
    quantised = write_base(tmp_path / "quantised.gguf", dtype="q8_0")
    assert not converted(source, quantised, folder).is_new
    monkeypatch.setattr(cache_module, "CONVERTER_VERSION", 99)
    assert converted(source, base, folder).path not in paths


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, base: Path, folder: Path, damage: str
) -> None:
    source = written(tmp_path / "style")
    path = converted(source, base, folder).path
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    path.write_bytes({"bit": bytes(flipped), "cut": whole[:-9], "empty": b""}[damage])
    again = converted(source, base, folder)
    assert again.is_new
    assert again.path.read_bytes() == whole


def test_a_failure_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    source = written(tmp_path / "style")
    wrong = write_base(tmp_path / "gemma.gguf", architecture="gemma", n_layer=1)
    modules = {"model.layers.1.self_attn.q_proj": pair(N_EMBD, N_EMBD, 4)}
    write_peft(source, modules, alpha=8, r=4)
    with pytest.raises(AdapterError):
        converted(source, wrong, folder)
    assert not folder.exists() or files(folder) == []


def test_a_cancelled_conversion_leaves_nothing(tmp_path: Path, base: Path, folder: Path) -> None:
    with pytest.raises(Cancelled):
        converted(written(tmp_path / "style"), base, folder, is_cancelled=lambda: True)
    assert files(folder) == []
    assert list((folder / "staging").iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_conversion(
    tmp_path: Path, base: Path, folder: Path
) -> None:
    left = folder / "staging" / "0123"
    left.mkdir(parents=True)
    (left / "half.gguf").write_bytes(b"GGUF")
    (left / "lock").touch()
    made = converted(written(tmp_path / "style"), base, folder)
    assert files(folder) == [made.path]


def test_the_least_recently_used_goes_when_the_budget_is_spent(
    tmp_path: Path, base: Path, folder: Path
) -> None:
    old, recent, new = (
        converted(written(tmp_path / "style", seed=seed), base, folder, budget_bytes=1).path
        for seed in (1, 2, 3)
    )
    assert files(folder) == sorted((old, recent, new))  # all of today, a chat may need them
    two_days_ago_ns = old.stat().st_mtime_ns - 48 * 3600 * 10**9
    os.utime(old, ns=(two_days_ago_ns, two_days_ago_ns))
    last = converted(written(tmp_path / "style", seed=4), base, folder, budget_bytes=1).path
    assert files(folder) == sorted((recent, new, last))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, base: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot hold the converted adapter"):
        converted(written(tmp_path / "style"), base, tmp_path / "file" / "cache")
