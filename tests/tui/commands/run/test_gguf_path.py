"""A GGUF file in the place of a model: `tui run ./base.gguf`, as llama.cpp's own tools take it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import run_tui, write_model_files
from tests.support.gguf_raw import RawGguf, text
from tests.support.split_base import write_split


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf-path")
    write_model_files(folder)
    return folder


def test_a_file_is_run_with_adapters_on_top(files: Path, tmp_path: Path) -> None:
    where = {"home": tmp_path / "home", "folder": files}
    alone = run_tui("run", "./base.gguf", "Hello", "--json", **where)
    assert alone.code == 0
    assert "Error" not in alone.err
    document = json.loads(alone.out)
    assert (document["model"], document["stack"]) == ("base.gguf", [])
    adapted = run_tui("run", "base.gguf", "Hello", "--lora", "loud.gguf", "--json", **where)
    assert [one["name"] for one in json.loads(adapted.out)["stack"]] == ["loud"]


def test_a_file_is_shown_merged_and_fused(files: Path, tmp_path: Path) -> None:
    where = {"home": tmp_path / "home", "folder": files}
    shown = run_tui("show", "./base.gguf", "--json", **where)
    document = json.loads(shown.out)
    assert (document["name"], document["adapters"]) == ("base.gguf", [])
    modelfile = run_tui("show", "./base.gguf", "--modelfile", **where)
    assert f"FROM {files / 'base.gguf'}\n" in modelfile.out
    for command, out in (("merge", "merged.gguf"), ("fuse", "fused.gguf")):
        out = str(tmp_path / out)
        ended = run_tui(command, "base.gguf", "--lora", "loud.gguf", "-o", out, **where)
        assert ended.code == 0, ended.err


def test_what_is_not_a_whole_model_is_said_in_one_sentence(files: Path, tmp_path: Path) -> None:
    second = write_split(files / "base.gguf", "split", 2)[1]
    projector = RawGguf.read(files / "base.gguf")
    projector.metadata["general.type"] = text("mmproj")
    projector.write(files / "projector.gguf")
    for name, part in (
        (second.name, "is not the first part of its split model; name split-00001-of-00002.gguf"),
        ("loud.gguf", "loud.gguf is an adapter, not a model"),
        ("projector.gguf", "(mmproj)"),
        ("./missing.gguf", "there is no such file (looked at "),
        ("Modelfile", "Modelfile is not a GGUF file"),
    ):
        ended = run_tui("run", name, "Hi", home=tmp_path / "home", folder=files)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert part in ended.err
