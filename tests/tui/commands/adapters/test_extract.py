"""`tui extract` on tiny models: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.checking.check import require_fit
from tests.engine.adapters.extraction.test_extract import changed
from tests.support.command_line import run_tui
from tests.support.dense_delta import deltas_of
from tests.support.tiny_models import write_adapter, write_base
from tui.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, models tuned from it, and files that do not belong to it."""
    folder = tmp_path_factory.mktemp("files")
    base = write_base(folder / "base.gguf")
    adapter = write_adapter(folder / "adapter.gguf", base, rank=5)
    deltas = deltas_of([(adapter, 1.0)])
    changed(base, folder / "tuned.gguf", deltas)
    bump = np.full(64, 0.25)
    changed(base, folder / "bumped.gguf", {**deltas, "output_norm.weight": bump})
    changed(base, folder / "norms.gguf", {"output_norm.weight": bump})
    write_base(folder / "gemma.gguf", architecture="gemma")
    write_base(folder / "deeper.gguf", n_layer=3)
    whole = base.read_bytes()
    (folder / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (folder / "text.gguf").write_text("This is no model.\n" * 20)
    (folder / "Modelfile").write_text("FROM ./base.gguf\nADAPTER ./adapter.gguf\n")
    return folder


@pytest.fixture(autouse=True)
def _place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own and stands in the folder of the files."""
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(files)


def test_an_adapter_is_made_of_the_difference(capsys: Capture, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    assert main(["extract", "tuned.gguf", "base.gguf", "-o", str(out), "--rank", "5"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert lines[0] == f"extracted the adapter {out}"
    assert [line.split(maxsplit=1)[0] for line in lines[1:5]] == ["rank", "modules", "size", "kept"]
    assert lines[2].endswith("14 (7 tensors are equal)")
    assert lines[4].endswith("kept       100 % of the difference")
    require_fit(out, files / "base.gguf")
    expected, found = deltas_of([(files / "adapter.gguf", 1.0)]), deltas_of([(out, 1.0)])
    for name, delta in expected.items():
        np.testing.assert_allclose(found[name], delta, rtol=0, atol=5e-3)


def test_json_is_all_that_is_written(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    words = ["bumped.gguf", "base.gguf", "-o", str(out), "--rank", "2", "--json"]
    ended = run_tui("extract", *words, home=tmp_path / "home", folder=files)
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert (document["path"], document["rank"]) == (str(out), 2)
    assert document["size_bytes"] == out.stat().st_size
    assert 0.2 < document["kept"]["least"]["kept"] < document["kept"]["all"] < 1.0
    (lost,) = document["left_out"]
    assert lost["tensors"] == ["output_norm.weight"]
    deltas = deltas_of([(files / "adapter.gguf", 1.0)])
    total = sum(float((delta**2).sum()) for delta in deltas.values())
    assert lost["share"] == pytest.approx(4.0 / (total + 4.0), rel=1e-4)
    assert document["n_equal"] == 6


def test_what_is_left_out_is_told(capsys: Capture, tmp_path: Path) -> None:
    words = ["extract", "bumped.gguf", "base.gguf", "-o", str(tmp_path / "o.gguf"), "--rank", "5"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "\nleft out:\n  1 vectors, such as norms and biases    " in shown
    assert shown.endswith(" % of the difference\n")


def test_a_name_stands_for_a_models_base(capsys: Capture, files: Path, tmp_path: Path) -> None:
    assert main(["create", "mine"]) == 0
    capsys.readouterr()
    words = ["extract", "tuned.gguf", "mine", "-o", str(tmp_path / "o.gguf"), "--rank", "5"]
    assert main(words) == 0
    assert "kept       100 %" in capsys.readouterr().out
    assert main(["extract", "mine", "base.gguf", *words[3:], "--force"]) == 1
    assert "fuse them with `tui fuse mine`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ("tuned.gguf base.gguf", 2, "the following arguments are required: --rank"),
        ("tuned.gguf base.gguf --rank -1", 2, "whole number from 1 to 65536, not '-1'"),
        (
            "base.gguf base.gguf --rank 4",
            1,
            "base.gguf has the weights of the base: there is nothing to extract",
        ),
        ("norms.gguf base.gguf --rank 4", 1, "only in what no adapter can hold"),
        ("gemma.gguf base.gguf --rank 4", 1, "gemma.gguf has the architecture 'gemma'"),
        ("deeper.gguf base.gguf --rank 4", 1, "has block_count 3, but the base 2"),
        ("adapter.gguf base.gguf --rank 4", 1, "is an adapter, not a model"),
        ("cut.gguf base.gguf --rank 4", 1, "is cut short"),
        ("text.gguf base.gguf --rank 4", 1, "is not a GGUF file"),
        ("missing.gguf base.gguf --rank 4", 1, "there is no such file (looked at "),
        ("tuned.gguf nosuch --rank 4", 1, "model 'nosuch:latest' not found"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: str, code: int, part: str, capsys: Capture, tmp_path: Path
) -> None:
    out = tmp_path / "out.gguf"
    assert main(["extract", *arguments.split(), "-o", str(out)]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert part in shown.err
    assert not out.exists()


def test_neither_model_is_overwritten(capsys: Capture, files: Path) -> None:
    before = (files / "base.gguf").read_bytes()
    words = ["extract", "tuned.gguf", "base.gguf", "-o", "base.gguf", "--rank", "4", "--force"]
    assert main(words) == 2
    assert "is one of the models" in capsys.readouterr().err
    assert (files / "base.gguf").read_bytes() == before
