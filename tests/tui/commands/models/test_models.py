"""create, list, show, cp and rm on a store with a tiny model."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.command_line import write_model_files
from tests.support.tiny_models import write_adapter
from tui.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_model_files(folder)
    return folder


@pytest.fixture(autouse=True)
def _place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own and stands in the folder of the model's files."""
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(files)


@pytest.fixture
def tiny(capsys: Capture) -> str:
    """The name of the model, created."""
    assert main(["create", "tiny"]) == 0
    capsys.readouterr()
    return "tiny"


def listed(capsys: Capture, *arguments: str) -> list[dict[str, object]]:
    assert main(["list", "--json", *arguments]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert isinstance(documents, list)
    return documents


def names(capsys: Capture, *arguments: str) -> list[object]:
    return [document["name"] for document in listed(capsys, *arguments)]


def test_create_says_what_was_created(capsys: Capture) -> None:
    assert main(["create", "tiny"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("created 'tiny:latest' (2 adapters, ")
    base = Path("base.gguf").absolute()
    assert shown.err == f"Note: Modelfile:1: FROM ./base.gguf is the file {base}\n"


def test_paths_in_a_modelfile_start_at_its_own_folder(
    capsys: Capture, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["create", "tiny", "-f", str(files / "Modelfile")]) == 0
    assert capsys.readouterr().out.startswith("created 'tiny:latest' (2 adapters, ")


def test_a_model_can_build_on_another_and_add_an_adapter(
    capsys: Capture, tiny: str, tmp_path: Path, files: Path
) -> None:
    write_adapter(tmp_path / "third.gguf", files / "base.gguf", seed=7)
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text("FROM tiny\nADAPTER ./third.gguf scale=0.2\n")
    assert main(["create", "more", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    assert main(["show", "more", "--json"]) == 0
    adapters = json.loads(capsys.readouterr().out)["adapters"]
    scales = [(adapter["name"], adapter["scale"]) for adapter in adapters]
    assert scales == [("loud", 0.5), ("calm", 0.0), ("third", 0.2)]


def test_what_has_no_effect_is_warned_about_with_its_line(capsys: Capture, tmp_path: Path) -> None:
    modelfile = tmp_path / "Modelfile"
    base = Path("base.gguf").absolute()
    modelfile.write_text(
        f"FROM {base}\nPARAMETER mirostat 1\nTEMPLATE {{{{ .Prompt }}}}\nREQUIRES 0.14.0\n"
    )
    assert main(["create", "odd", "-f", str(modelfile)]) == 0
    *warnings, choice = capsys.readouterr().err.splitlines()
    assert choice.startswith("Note: ")
    assert len(warnings) == 2
    assert all(warning.startswith(f"Warning: {modelfile}:") for warning in warnings)
    assert warnings[0].startswith(f"Warning: {modelfile}:2: parameter mirostat is deprecated")
    assert "REQUIRES is kept" in warnings[1]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ .Prompt | shout }}", 'line 1, column 14: function "shout" not defined'),
        ('"""{{ if .System }}\n{{ .System }"""', 'line 2, column 12: unexpected "}" in action'),
        (
            "{{ range .Messages }}{{ .Text }}{{ end }}",
            "line 1, column 25: can't evaluate field Text in type Message",
        ),
    ],
)
def test_a_template_that_cannot_be_used_creates_nothing(
    template: str, reason: str, capsys: Capture, tmp_path: Path
) -> None:
    modelfile = tmp_path / "Modelfile"
    base = Path("base.gguf").absolute()
    modelfile.write_text(f"FROM {base}\nTEMPLATE {template}\n")
    assert main(["create", "odd", "-f", str(modelfile)]) == 1
    expected = f"Error: {modelfile}:2: The TEMPLATE cannot be used: {reason}.\n"
    assert capsys.readouterr() == ("", expected)
    assert "odd:latest" not in names(capsys)


def test_list_shows_the_newest_first_in_columns(capsys: Capture, tiny: str) -> None:
    assert main(["create", "mine:v2"]) == 0
    capsys.readouterr()
    assert main(["ls"]) == 0
    headings, first, second, *_ = capsys.readouterr().out.splitlines()
    assert [first.split()[0], second.split()[0]] == ["mine:v2", "tiny:latest"]
    assert first[headings.index("ADAPTERS") :].startswith("2   ")
    assert first.endswith("created")
    assert " ago " in first


def test_list_as_json_has_what_scripts_need(capsys: Capture, tiny: str, files: Path) -> None:
    (document,) = listed(capsys, "tin")
    assert document["name"] == "tiny:latest"
    assert len(str(document["digest"])) == 12
    sizes = [(files / f"{name}.gguf").stat().st_size for name in ("base", "loud", "calm")]
    assert int(str(document["size_bytes"])) >= sum(sizes)
    assert (document["adapters"], document["origin"]) == (2, "created")
    assert datetime.fromisoformat(str(document["modified"])).tzinfo is not None


def test_list_takes_the_start_of_a_name_whatever_its_case(capsys: Capture, tiny: str) -> None:
    assert names(capsys, "TI") == ["tiny:latest"]
    assert names(capsys, "iny") == []
    assert main(["list", "zzz"]) == 0
    assert capsys.readouterr().err == "Note: No model has a name that begins with 'zzz'.\n"


def test_a_model_that_is_damaged_is_listed_with_a_warning_and_can_be_removed(
    capsys: Capture, tiny: str, tmp_path: Path
) -> None:
    (manifest,) = (tmp_path / "home" / "models" / "manifests").rglob("latest")
    manifest.write_text("{")
    assert main(["list", "tiny"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].startswith("tiny:latest ")
    assert shown.err.startswith("Warning: tiny:latest cannot be used: ")
    assert listed(capsys, "tiny")[0]["problem"]
    assert main(["rm", "tiny"]) == 0
    capsys.readouterr()
    assert names(capsys, "tiny") == []


def test_show_tells_all_about_the_model(capsys: Capture, tiny: str) -> None:
    assert main(["show", "tiny"]) == 0
    page = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in page.splitlines()]
    assert rows[0] == "Model"
    assert "architecture llama" in rows
    assert "context length 65536" in rows
    assert "quantization F32" in rows
    assert any(row.startswith("loud scale 0.50 rank 4 alpha 8 14 targets") for row in rows)
    assert any(row.startswith("calm scale 0.00 rank 4 alpha 8 14 targets") for row in rows)
    assert "num_ctx 256" in rows
    assert 'stop "<never>"' in rows
    assert rows[rows.index("System") + 1] == "Answer in one line."
    assert rows[rows.index("License") + 1] == "Free to use."


def test_show_as_json_is_one_document(capsys: Capture, tiny: str) -> None:
    assert main(["show", "tiny", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["name"] == "tiny:latest"
    assert document["base"]["architecture"] == "llama"
    assert document["base"]["parameters"] > 0
    assert document["parameters"]["stop"] == ["<never>"]
    assert [adapter["rank"] for adapter in document["adapters"]] == [4, 4]
    assert (document["system"], document["licenses"]) == ("Answer in one line.", ["Free to use."])


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("--system", "Answer in one line.\n"),
        ("--license", "Free to use.\n"),
        ("--template", None),
    ],
)
def test_show_prints_one_part_alone(
    part: str, shown: str | None, capsys: Capture, tiny: str
) -> None:
    assert main(["show", "tiny", part]) == 0
    out = capsys.readouterr().out
    if shown is None:
        assert out.startswith("{% for message in messages %}")
    else:
        assert out == shown


def test_show_prints_parameters_as_ollama_does(capsys: Capture, tiny: str) -> None:
    assert main(["show", "tiny", "--parameters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{'num_ctx':<30} 256" in lines
    assert f'{"stop":<30} "<never>"' in lines


def test_a_shown_modelfile_makes_the_same_model(capsys: Capture, tiny: str, tmp_path: Path) -> None:
    assert main(["show", "tiny", "--modelfile"]) == 0
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(capsys.readouterr().out)
    assert main(["create", "again", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    documents = []
    for name in ("tiny", "again"):
        assert main(["show", name, "--json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0].pop("name") != documents[1].pop("name")
    assert documents[0] == documents[1]


def test_a_part_that_a_model_does_not_have_is_said_on_stderr(
    capsys: Capture, tmp_path: Path
) -> None:
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(f"FROM {Path('base.gguf').absolute()}\n")
    assert main(["create", "plain", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    assert main(["show", "plain", "--system"]) == 0
    assert capsys.readouterr() == ("", "Note: plain:latest has no system of its own.\n")


def test_cp_gives_a_second_name_to_the_same_model(capsys: Capture, tiny: str) -> None:
    assert main(["cp", "tiny", "tiny:copy"]) == 0
    assert capsys.readouterr().out == "copied 'tiny' to 'tiny:copy'\n"
    assert sorted(str(name) for name in names(capsys, "tiny")) == ["tiny:copy", "tiny:latest"]
    assert main(["rm", "tiny"]) == 0
    capsys.readouterr()
    assert main(["show", "tiny:copy", "--system"]) == 0
    assert capsys.readouterr().out == "Answer in one line.\n"


def test_rm_deletes_several_models_and_their_files(
    capsys: Capture, tiny: str, tmp_path: Path
) -> None:
    assert main(["cp", "tiny", "other"]) == 0
    capsys.readouterr()
    assert main(["rm", "tiny", "other", "tiny"]) == 0
    assert capsys.readouterr().out == "deleted 'tiny'\ndeleted 'other'\n"
    assert names(capsys, "t") == []
    assert list((tmp_path / "home").rglob("sha256-*")) == []


def test_rm_deletes_nothing_when_one_name_is_unknown(capsys: Capture, tiny: str) -> None:
    assert main(["rm", "tiny", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err
    assert names(capsys, "tiny") == ["tiny:latest"]


OWN_LINES = """\
PARAMETER num_ubatch 64
PARAMETER num_thread_batch 2
PARAMETER flash_attention true
PARAMETER kv_cache_type q8_0
PARAMETER rpc_hosts 10.0.0.2:50052,box:50053
"""


def test_own_parameters_are_kept_shown_and_inherited(capsys: Capture, tmp_path: Path) -> None:
    def shown(name: str, part: str) -> str:
        assert main(["show", name, part]) == 0
        return capsys.readouterr().out

    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(f"FROM {Path('base.gguf').absolute()}\n{OWN_LINES}")
    assert main(["create", "own", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    values = dict(line.split() for line in shown("own", "--parameters").splitlines())
    assert values == {
        "num_ubatch": "64",
        "num_thread_batch": "2",
        "flash_attention": "true",
        "kv_cache_type": '"q8_0"',
        "rpc_hosts": '"10.0.0.2:50052,box:50053"',
    }
    modelfile.write_text(shown("own", "--modelfile"))
    assert main(["create", "again", "-f", str(modelfile)]) == 0
    modelfile.write_text("FROM own\nPARAMETER rpc_hosts none\n")
    assert main(["create", "child", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    assert shown("again", "--parameters") == shown("own", "--parameters")
    child = shown("child", "--parameters").splitlines()
    assert {line.split()[0] for line in child} == set(values)
    assert child[-1].split() == ["rpc_hosts", '"none"']


def test_a_wrong_value_of_an_own_parameter_is_one_sentence_with_its_line(
    capsys: Capture, tmp_path: Path
) -> None:
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text("FROM ./base.gguf\nPARAMETER kv_cache_type q9\n")
    assert main(["create", "wrong", "-f", str(modelfile)]) == 1
    error = capsys.readouterr().err
    assert "Modelfile:2: kv_cache_type must be one of f32, f16" in error
