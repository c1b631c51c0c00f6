"""`tui fuse` on tiny models: what it writes, what it says, and what it refuses in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.adapters.fusing.file import fused_stack, is_intact
from engine.adapters.read import read_adapter
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from tests.support.command_line import run_tui, write_model_files
from tests.support.dense_delta import deltas_of
from tests.support.gguf_raw import RawGguf, RawValue, text
from tests.support.stored_folders import peft_pairs
from tests.support.tiny_models import write_adapter, write_base
from tui.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, adapters that fit it, some that do not, and a model of them."""
    folder = tmp_path_factory.mktemp("files")
    write_model_files(folder)
    base = folder / "base.gguf"
    write_adapter(folder / "half.gguf", base, seed=3, dtype="f16", rank=3)
    write_base(folder / "gemma.gguf", architecture="gemma")
    write_adapter(folder / "foreign.gguf", folder / "gemma.gguf")
    broken = RawGguf.read(folder / "calm.gguf")
    broken.replace_array("blk.0.attn_q.weight.lora_a", np.full((4, 64), np.inf, dtype=np.float32))
    broken.write(folder / "infinite.gguf")
    write_adapter(folder / "undefined.gguf", base, alpha=float("nan"))
    waiting = RawGguf.read(folder / "calm.gguf")
    key = "adapter.alora.invocation_tokens"
    array = RawGguf.read(base).metadata["tokenizer.ggml.token_type"]
    waiting.metadata[key] = RawValue(array.type, [1, 2], type(array.element_type)(4))
    waiting.write(folder / "waiting.gguf")
    named = RawGguf.read(base)
    named.metadata["general.repo_url"] = text("https://huggingface.co/org/tiny")
    named.write(folder / "named.gguf")
    return folder


@pytest.fixture(autouse=True)
def _place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own and stands in the folder of the model's files."""
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(files)


@pytest.fixture
def mine(capsys: Capture) -> str:
    assert main(["create", "mine"]) == 0
    capsys.readouterr()
    return "mine"


def fused_json(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert main(["fuse", *arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_a_models_stack_becomes_one_adapter(
    capsys: Capture, mine: str, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mix.gguf"
    assert main(["fuse", mine, "--lora", "half.gguf", "--lora-scale", "-1", "-o", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.splitlines()[0] == f"fused loud 0.50 + half -1.00 into the adapter {out}"
    assert "rank       7\n" in shown.out
    assert "kept       100 % of what the stack changes\n" in shown.out
    expected = deltas_of([(files / "loud.gguf", 0.5), (files / "half.gguf", -1.0)])
    found = deltas_of([(out, 1.0)])
    for name, delta in expected.items():
        np.testing.assert_allclose(found[name], delta, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        "fuse demo --lora pirate --rank 2 -o {out}",
        "fuse --lora pirate demo --rank 2 -o {out}",
        "fuse -o {out} --rank 2 --lora pirate demo",
    ],
)
def test_the_name_may_stand_anywhere(words: str, capsys: Capture, tmp_path: Path) -> None:
    assert main(words.format(out=tmp_path / "out.gguf").split()) == 0
    assert capsys.readouterr().out.startswith("fused pirate 1.00 into")


def test_the_file_says_what_it_was_made_of(tmp_path: Path) -> None:
    out = tmp_path / "mix.gguf"
    words = ["fuse", "--lora", "loud.gguf", "--lora-scale", "0.5", "--lora", "half.gguf"]
    assert main([*words, "-o", str(out)]) == 0
    header = read_header(out)
    adapter = read_adapter(out)
    assert (adapter.name, adapter.description) == (
        "loud-half",
        "Fused from loud 0.50 + half 1.00.",
    )
    assert is_intact(out)
    sha256s = [read_adapter(Path(f"{name}.gguf")).sha256 for name in ("loud", "half")]
    assert fused_stack(header) == ((sha256s[0], 0.5), (sha256s[1], 1.0))


def test_equal_files_are_one_adapter_of_summed_scale(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "again.gguf").write_bytes(Path("half.gguf").read_bytes())
    words = ["--lora", "half.gguf", "--lora", str(tmp_path / "again.gguf"), "--lora-scale", "0.5"]
    document = fused_json(capsys, *words, "-o", str(tmp_path / "out.gguf"))
    assert document["ranks"] == {"stack": "3", "written": "3"}
    found, expected = (
        deltas_of([(tmp_path / "out.gguf", 1.0)]),
        deltas_of([(Path("half.gguf"), 1.5)]),
    )
    for name, delta in expected.items():
        np.testing.assert_allclose(found[name], delta, rtol=0, atol=2e-3)


def test_a_lower_rank_tells_what_it_keeps_of_each_kind_of_module(
    capsys: Capture, mine: str, tmp_path: Path
) -> None:
    words = ["fuse", mine, "--lora", "half.gguf", "--rank", "4", "-o", str(tmp_path / "m.gguf")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "rank       4 (the stack's: 7)\n" in shown
    assert " of what the stack changes; least " in shown
    assert "\nkept of each kind of module:\n  attn_q " in shown
    assert "in layer" in shown.splitlines()[-1]


def test_json_is_all_that_is_written(files: Path, tmp_path: Path) -> None:
    words = ["--lora", "loud.gguf", "--lora", "half.gguf", "--rank", "2", "--json"]
    ended = run_tui(
        "fuse", *words, "-o", str(tmp_path / "out.gguf"), home=tmp_path / "home", folder=files
    )
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert document["path"] == str(tmp_path / "out.gguf")
    assert document["size_bytes"] == (tmp_path / "out.gguf").stat().st_size
    assert [(e["name"], e["scale"], e["rank"]) for e in document["stack"]] == [
        ("loud", 1.0, "4"),
        ("half", 1.0, "3"),
    ]
    assert 0.3 < document["kept"]["least"]["kept"] < document["kept"]["all"] < 1.0
    assert len(document["modules"]) == 14
    assert {module["rank"] for module in document["modules"]} == {2}


@pytest.mark.parametrize("rank", ["7", "64"])
def test_a_rank_that_loses_nothing_says_so(capsys: Capture, rank: str, tmp_path: Path) -> None:
    words = ["--lora", "loud.gguf", "--lora", "half.gguf", "--rank", rank]
    assert main(["fuse", *words, "-o", str(tmp_path / "out.gguf")]) == 0
    shown = capsys.readouterr()
    assert shown.err == f"Note: The stack's rank is 7: at rank {rank} nothing is lost.\n"
    assert "kept       100 %" in shown.out
    assert is_intact(tmp_path / "out.gguf")


@pytest.mark.parametrize(
    ("adapters", "outtype", "expected"),
    [
        ("half", "auto", GgmlType.F16),
        ("loud", "auto", GgmlType.F32),
        ("loud", "f16", GgmlType.F16),
        ("half", "f32", GgmlType.F32),
    ],
)
def test_weights_are_stored_as_asked_for(
    adapters: str, outtype: str, expected: GgmlType, tmp_path: Path
) -> None:
    out = tmp_path / "out.gguf"
    words = ["fuse", "--lora", f"{adapters}.gguf", "--outtype", outtype, "--rank", "2"]
    assert main([*words, "-o", str(out)]) == 0
    assert {tensor.type for tensor in read_header(out).tensors.values()} == {expected}


def test_a_peft_folder_has_the_deltas_and_a_card(
    capsys: Capture, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mix"
    words = ["--lora", "half.gguf", "--lora-scale", "0.5", "--base", "named.gguf"]
    assert main(["fuse", *words, "--format", "peft", "-o", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"fused half 0.50 into the PEFT folder {out}\n")
    assert "called org/tiny by its metadata" in shown.err
    config = json.loads((out / "adapter_config.json").read_text("utf-8"))
    assert (config["base_model_name_or_path"], config["r"]) == ("org/tiny", 3)
    card = (out / "README.md").read_text("utf-8")
    assert card.startswith('---\nbase_model: "org/tiny"\n')
    assert "- half at scale 0.5\n" in card
    expected = deltas_of([(files / "half.gguf", 0.5)])["blk.1.ffn_up.weight"]
    found = peft_pairs(out, 0)["model.layers.1.mlp.up_proj"].delta
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_a_peft_folder_comes_back_as_the_stack_it_was_made_of(files: Path, tmp_path: Path) -> None:
    there = ["--lora", "loud.gguf", "--lora", "half.gguf", "--lora-scale", "-0.5"]
    words = [*there, "--base", "base.gguf", "--base-name", "me/it", "--format", "peft"]
    assert main(["fuse", *words, "-o", str(tmp_path / "mix")]) == 0
    back = ["--lora", str(tmp_path / "mix"), "--base", "base.gguf"]
    assert main(["fuse", *back, "-o", str(tmp_path / "mix.gguf")]) == 0
    expected = deltas_of([(files / "loud.gguf", 1.0), (files / "half.gguf", -0.5)])
    found = deltas_of([(tmp_path / "mix.gguf", 1.0)])
    assert set(found) == set(expected)
    for name, delta in expected.items():
        np.testing.assert_allclose(found[name], delta, rtol=0, atol=1e-5)


def test_a_peft_folder_is_replaced_only_where_nothing_else_is_in_it(
    capsys: Capture, tmp_path: Path
) -> None:
    words = ["fuse", "--lora", "half.gguf", "--base", "base.gguf", "--base-name", "me/it"]
    words += ["--format", "peft", "-o", str(tmp_path / "mix")]
    assert main(words) == 0
    assert main(words) == 1
    assert main([*words, "--force"]) == 0
    (tmp_path / "mix" / "optimizer.pt").write_text("a day's work")
    capsys.readouterr()
    assert main([*words, "--force"]) == 1
    assert "other files, 'optimizer.pt' first" in capsys.readouterr().err
    assert (tmp_path / "mix" / "optimizer.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ("", 2, "Name a model whose stack is to be fused, or adapters with --lora."),
        ("nosuch", 1, "model 'nosuch:latest' not found"),
        ("demo", 1, "There is nothing to fuse"),
        ("demo --base base.gguf", 2, "--base goes with --lora alone"),
        ("--lora missing.gguf", 1, 'There is no adapter "missing.gguf"'),
        ("--lora base.gguf", 1, "is a model, not a LoRA adapter"),
        ("--lora loud.gguf --lora foreign.gguf", 1, "fuse adapters of one base"),
        ("--lora foreign.gguf --base base.gguf", 1, "use the base it was trained on"),
        ("--lora loud.gguf --base loud.gguf", 1, "is an adapter, not a model"),
        ("--lora infinite.gguf", 1, "holds NaN or infinity in tensor"),
        ("--lora undefined.gguf", 1, "holds NaN or infinity in tensor 'adapter.lora.alpha'"),
        ("--lora waiting.gguf", 1, "leave it out with --lora waiting --lora-scale 0"),
        ("--lora loud.gguf --lora-scale 0", 1, "There is nothing to fuse"),
        ("--lora loud.gguf --rank 0", 2, "whole number from 1 to 65536, not '0'"),
        ("--lora loud.gguf --rank many", 2, "whole number from 1 to 65536, not 'many'"),
        ("--lora loud.gguf --format peft", 2, "A PEFT folder needs the base"),
        ("--lora loud.gguf --base-name me/it", 2, "--base-name goes with --format peft"),
        ("--lora loud.gguf --outtype q4_0", 2, "invalid choice: 'q4_0'"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: str, code: int, part: str, capsys: Capture, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(["fuse", *arguments.split(), "-o", str(out)]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert part in shown.err
    assert not out.exists()


def test_a_folder_that_has_to_be_converted_asks_for_the_base(
    capsys: Capture, files: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "style", tmp_path / "mix.gguf"
    assert (
        main(
            [
                "fuse",
                "--lora",
                "loud.gguf",
                "--base",
                "base.gguf",
                "--format",
                "peft",
                "-o",
                str(folder),
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["fuse", "--lora", str(folder), "-o", str(out)]) == 2
    assert capsys.readouterr().err.endswith("for its base: name that with --base.\n")
    assert main(["fuse", "--lora", str(folder), "--base", "base.gguf", "-o", str(out)]) == 0


@pytest.mark.parametrize(
    ("out", "format_", "code", "part"),
    [
        ("here.gguf", "gguf", 1, "is there already"),
        ("loud.gguf", "gguf", 2, "is one of the files that are fused"),
        ("folder", "gguf", 1, "is a folder: name a file"),
        ("here.gguf", "peft", 1, "is a file: name a folder"),
        ("nowhere/x.gguf", "gguf", 2, "There is no folder"),
        ("-", "gguf", 2, "not standard output"),
    ],
)
def test_nothing_is_overwritten_by_accident(
    out: str, format_: str, code: int, part: str, capsys: Capture, files: Path
) -> None:
    (files / "here.gguf").write_text("precious")
    (files / "folder").mkdir(exist_ok=True)
    force = [] if part == "is there already" else ["--force"]
    words = ["fuse", "--lora", "loud.gguf", "--base", "base.gguf", "--format", format_]
    assert main([*words, *force, "-o", out]) == code
    assert part in capsys.readouterr().err
    assert (files / "here.gguf").read_text() == "precious"


@pytest.mark.parametrize(
    ("command", "named", "out"),
    [
        ("fuse demo --format peft", "{}", "{}"),
        ("fuse demo --format peft", "{}/adapter_model.safetensors", "{}"),
        ("fuse demo", "{}", "{}/adapter_model.safetensors"),
        ("merge demo", "{}", "{}/adapter_model.safetensors"),
        ("merge demo", "{}/adapter_model.safetensors", "{}/adapter_model.safetensors"),
    ],
)
def test_an_adapter_that_is_converted_is_never_overwritten(
    command: str, named: str, out: str, capsys: Capture, tmp_path: Path
) -> None:
    folder = tmp_path / "trained"
    words = ["fuse", "demo", "--lora", "pirate", "--lora-scale", "1", "--format", "peft"]
    assert main([*words, "--rank", "2", "-o", str(folder)]) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    words = [*command.split(), "--lora", named.format(folder), "-o", out.format(folder)]
    assert main([*words, "--force"]) == 2
    assert "name another with -o" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "command",
    ["fuse huge", "fuse huge --rank 1", "fuse huge --format peft", "merge huge", "inspect huge"],
)
def test_numbers_out_of_range_are_told_without_warnings_of_numpy(
    command: str, files: Path, capsys: Capture, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    raw = RawGguf.read(files / "calm.gguf")
    shape = read_header(files / "calm.gguf").tensors["blk.0.attn_q.weight.lora_b"].shape[::-1]
    raw.replace_array("blk.0.attn_q.weight.lora_b", np.full(shape, 3e38, np.float32))
    raw.write(tmp_path / "huge.gguf")
    (tmp_path / "Modelfile").write_text(f"FROM {files / 'base.gguf'}\nADAPTER ./huge.gguf 9.0\n")
    assert main(["create", "huge", "-f", str(tmp_path / "Modelfile")]) == 0
    capsys.readouterr()
    out = tmp_path / "out"
    words = command.split()
    has_out = words[0] != "inspect"
    assert main([*words, *(["-o", str(out)] if has_out else [])]) == (1 if has_out else 0)
    if has_out:
        assert capsys.readouterr().err.count("Error: ") == 1
    assert not out.exists()
    assert [str(warning.message) for warning in recwarn] == []
