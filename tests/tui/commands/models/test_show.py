"""`tui show` on a model that says everything a Modelfile can say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import write_model_files
from tui.cli import main

Capture = pytest.CaptureFixture[str]

EVERYTHING = '''\
FROM ./base.gguf
ADAPTER ./loud.gguf scale=-0.25 name=first
ADAPTER ./calm.gguf 1.5
DRAFT ./base.gguf
TEMPLATE """{{ if .System }}<s>{{ .System }}</s>
{{ end }}{{ .Prompt }} """
SYSTEM """
  Say "yes".
\t"""
RENDERER qwen3-coder
PARSER qwen3
REQUIRES v0.14.0
PARAMETER num_ctx 1048576
PARAMETER temperature 1e-05
PARAMETER stop "<|im_end|>"
PARAMETER stop " x "
PARAMETER use_mmap false
LICENSE MIT
LICENSE """Second
license, of
three lines."""
MESSAGE user "Hello\u200d \U0001f469\u200d\U0001f680"
MESSAGE assistant """Two
lines"""
MESSAGE system Be brief.
'''
DIRECTIVES = "FROM ADAPTER DRAFT TEMPLATE SYSTEM RENDERER PARSER REQUIRES PARAMETER LICENSE MESSAGE"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    write_model_files(folder)
    (folder / "Everything").write_text(EVERYTHING, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(files)
    assert main(["create", "full", "-f", "Everything"]) == 0
    capsys.readouterr()


def shown(capsys: Capture, *arguments: str) -> str:
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out


def test_a_shown_modelfile_has_every_directive_and_makes_the_same_again(
    capsys: Capture, tmp_path: Path
) -> None:
    text = shown(capsys, "full", "--modelfile")
    assert {line.split(" ")[0] for line in text.splitlines()} >= set(DIRECTIVES.split())
    (tmp_path / "Modelfile").write_text(text, encoding="utf-8")
    assert main(["create", "full", "-f", str(tmp_path / "Modelfile")]) == 0
    capsys.readouterr()
    assert shown(capsys, "full", "--modelfile") == text


def test_a_model_built_on_another_inherits_and_extends_all_of_it(
    capsys: Capture, tmp_path: Path
) -> None:
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(
        "FROM full\nPARAMETER temperature 0.5\nPARAMETER stop only\nLICENSE third\n"
        'SYSTEM first\nSYSTEM last\nTEMPLATE ""\nMESSAGE user new\n'
    )
    assert main(["create", "child", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    parent = json.loads(shown(capsys, "full", "--json"))
    child = json.loads(shown(capsys, "child", "--json"))
    assert child["parameters"] == parent["parameters"] | {"temperature": 0.5, "stop": ["only"]}
    assert child["licenses"] == [*parent["licenses"], "third"]
    assert child["system"] == "last"
    assert child["messages"] == [{"role": "user", "content": "new"}]
    inherited = ("template", "renderer", "parser", "requires", "drafts", "adapters", "base")
    assert {key: child[key] for key in inherited} == {key: parent[key] for key in inherited}


def test_the_overview_has_a_section_for_each_part(capsys: Capture) -> None:
    page = shown(capsys, "full")
    titles = [line.strip() for line in page.splitlines() if line[:3].strip() and line[2] != " "]
    assert titles == [
        *("Model", "Adapters", "Parameters", "System", "Template", "Messages"),
        *("Kept for Ollama", "License"),
    ]
    rows = [" ".join(line.split()) for line in page.splitlines()]
    assert any(row.startswith("first scale -0.25 rank 4 alpha 8 14 targets ") for row in rows)
    for row in ("renderer qwen3-coder", "parser qwen3", "requires v0.14.0", "Second"):
        assert row in rows


def test_json_has_every_part(capsys: Capture, files: Path) -> None:
    document = json.loads(shown(capsys, "full", "--json"))
    assert (document["renderer"], document["parser"], document["requires"]) == (
        *("qwen3-coder", "qwen3", "v0.14.0"),
    )
    assert [Path(path).stat().st_size for path in document["drafts"]] == [
        (files / "base.gguf").stat().st_size
    ]
    keys = {"name", "scale", "path", "rank", "alpha", "targets", "size_bytes", "sha256"}
    assert all(keys <= set(adapter) for adapter in document["adapters"])


def test_each_part_alone_is_as_it_was_written(capsys: Capture) -> None:
    assert shown(capsys, "full", "--template") == (
        "{{ if .System }}<s>{{ .System }}</s>\n{{ end }}{{ .Prompt }} \n"
    )
    assert shown(capsys, "full", "--license") == "MIT\n\nSecond\nlicense, of\nthree lines.\n"
    rows = dict(line.split(None, 1) for line in shown(capsys, "full", "--parameters").splitlines())
    assert rows == {
        "num_ctx": "1048576",
        "temperature": "1e-05",
        "stop": '" x "',
        "use_mmap": "false",
    }


@pytest.mark.parametrize("second", ["--system", "--json", "--parameters", "--template"])
def test_two_parts_at_once_are_wrong_use(second: str, capsys: Capture) -> None:
    assert main(["show", "full", "--modelfile", second]) == 2
    assert "not allowed with argument" in capsys.readouterr().err
