"""`tui convert`: what it writes, finds and says, and one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.adapters.checking.check import require_fit
from engine.adapters.foreign.peft.to_lora import LoraForm
from engine.adapters.read import read_adapter
from engine.gguf.header import read_header
from engine.gguf.weights import WeightFile
from tests.support.command_line import run_python, run_tui, write_model_files
from tests.support.peft_folders import pair, write_mlx, write_peft
from tests.support.tiny_models import HEAD_SIZE, N_EMBD, N_HEAD_KV, vocabulary, write_base
from tui.cli import main

Capture = pytest.CaptureFixture[str]

MODULES = {
    f"model.layers.{layer}.self_attn.{name}_proj": pair(n_out, N_EMBD, 4, seed=layer)
    for layer in range(2)
    for name, n_out in (("q", N_EMBD), ("v", N_HEAD_KV * HEAD_SIZE))
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own, and stands in a folder with a base and an adapter."""
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_base(Path("base.gguf"))
    write_peft(Path("my lora"), MODULES, alpha=8, r=4)


def created(text: str, name: str, capsys: Capture) -> str:
    """Create a model, forget what was said, and return its name."""
    Path("Modelfile").write_text(text)
    assert main(["create", name]) == 0, capsys.readouterr().err
    capsys.readouterr()
    return name


def document(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert main(["convert", *arguments, "--json"]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_result_and_how_to_use_it_are_told(capsys: Capture) -> None:
    assert main(["convert", "my lora", "--base", "base.gguf"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "converted my lora into the adapter my-lora.gguf"
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:-1]}
    assert facts["architecture"] == "llama"
    assert (facts["rank"], facts["alpha"]) == ("4", "8")
    assert facts["targets"] == "attn_q, attn_v (4 pairs)"
    assert facts["tensors"] == "8 F32"
    assert "folded" not in facts
    assert lines[-1] == "next: tui run NAME --lora my-lora.gguf"
    require_fit(Path("my-lora.gguf"), Path("base.gguf"))


def test_a_model_is_a_base_by_its_name(capsys: Capture) -> None:
    name = created("FROM ./base.gguf", "tiny", capsys)
    assert main(["convert", "my lora", "--base", name, "-o", "x.gguf"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: tui run tiny:latest --lora x.gguf"


def test_without_a_base_the_only_model_that_fits_is_taken(capsys: Capture) -> None:
    write_base(Path("other.gguf"), n_layer=1)
    created("FROM ./other.gguf", "other", capsys)
    created("FROM ./base.gguf", "tiny", capsys)
    created("FROM tiny\nSYSTEM Same base.", "again", capsys)
    assert document(capsys, "my lora")["base"]["name"] == "tiny:latest"


def test_without_a_base_that_fits_there_is_nothing_to_choose(capsys: Capture) -> None:
    assert main(["convert", "my lora"]) == 1
    err = capsys.readouterr().err
    assert "my lora does not fit the only model here, demo:latest: " in err
    assert err.count("\n") == 1
    created("FROM demo", "again", capsys)
    write_base(Path("small.gguf"), n_layer=1)
    created("FROM ./small.gguf", "small", capsys)
    assert main(["convert", "my lora"]) == 1
    assert "None of the 3 models here is the base of my lora, " in capsys.readouterr().err
    assert not Path("my-lora.gguf").exists()


def test_of_several_bases_that_fit_the_one_of_that_name_is_taken(capsys: Capture) -> None:
    created("FROM ./base.gguf", "first", capsys)  # general.name is Tiny, as in example/tiny
    write_base(Path("twin.gguf"), name="Twin", seed=1)
    created("FROM ./twin.gguf", "second", capsys)
    assert document(capsys, "my lora")["base"]["name"] == "first:latest"


def test_several_bases_that_fit_are_named(capsys: Capture) -> None:
    for name in ("alpha", "beta"):
        write_base(Path(f"{name}.gguf"), name=name)
        created(f"FROM ./{name}.gguf", name, capsys)
    assert main(["convert", "my lora"]) == 1
    err = capsys.readouterr().err
    assert "fits 2 models here, " in err
    assert "alpha:latest" in err
    assert "beta:latest" in err
    assert "trained on example/tiny" in err


def test_json_is_one_document_with_everything(capsys: Capture) -> None:
    found = document(capsys, "my lora", "--base", "base.gguf", "--outtype", "f16")
    path = Path("my-lora.gguf").absolute()
    assert found == {
        "path": str(path),
        "name": "my lora",
        "architecture": "llama",
        "base": {"name": None, "path": str(Path("base.gguf").absolute())},
        "ranks": [4],
        "alpha": 8.0,
        "targets": [f"blk.{layer}.attn_{x}.weight" for layer in range(2) for x in "qv"],
        "types": {"F16": 8},
        "n_folded": 0,
        "dropped": [],
        "notices": [],
        "size_bytes": path.stat().st_size,
        "original": None,
    }


def test_scales_that_differ_are_told(capsys: Capture) -> None:
    write_peft(Path("mixed"), MODULES, alpha=8, r=4, config={"alpha_pattern": {"q_proj": 3}})
    assert main(["convert", "mixed", "--base", "base.gguf"]) == 0
    out = capsys.readouterr().out
    assert "2 pairs with a scale of their own" in out


def test_an_existing_file_is_overwritten_only_by_force(capsys: Capture) -> None:
    arguments = ["convert", "my lora", "--base", "base.gguf", "-o", "x.gguf"]
    Path("x.gguf").write_bytes(b"mine")
    assert main(arguments) == 1
    assert "is there already" in capsys.readouterr().err
    assert Path("x.gguf").read_bytes() == b"mine"
    assert main([*arguments, "--force"]) == 0
    assert read_adapter(Path("x.gguf")).n_targets == 4


@pytest.mark.parametrize("out", ["base.gguf", "my lora/adapter_model.safetensors"])
def test_what_is_being_read_is_never_overwritten(capsys: Capture, out: str) -> None:
    before = Path(out).read_bytes()
    arguments = ["convert", "my lora", "--base", "base.gguf", "-o", out, "--force"]
    assert main(arguments) == 1
    assert "is being read" in capsys.readouterr().err
    assert Path(out).read_bytes() == before


def test_mlx_adapters_are_converted_too(capsys: Capture) -> None:
    write_mlx(Path("mlx"), MODULES, scale=20.0, r=4)
    assert document(capsys, "mlx", "--base", "base.gguf")["alpha"] == 80.0


def _wrong_inputs() -> None:
    Path("empty").mkdir()
    Path("text.json").write_text("nothing")
    Path("list.json").write_text("[]")
    Path("broken").mkdir()
    Path("broken/adapter_config.json").write_text("{")
    write_peft(Path("dora"), MODULES, alpha=8, r=4, config={"use_dora": True})
    bad = {path: (a.copy(), b.copy()) for path, (a, b) in MODULES.items()}
    bad["model.layers.0.self_attn.q_proj"][1][0, 0] = np.inf
    write_peft(Path("infinite"), bad, alpha=8, r=4)
    wide = {"model.layers.0.self_attn.q_proj": pair(128, 128, 4)}
    write_peft(Path("wide"), wide, alpha=8, r=4)
    deep = {"model.layers.7.self_attn.q_proj": pair(N_EMBD, N_EMBD, 4)}
    write_peft(Path("deep"), deep, alpha=8, r=4)
    write_peft(Path("cut"), MODULES, alpha=8, r=4)
    weights = Path("cut/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["absent"], 1),
        (["empty"], 1),
        (["base.gguf"], 1),
        (["broken"], 1),
        (["dora"], 1),
        (["infinite"], 1),
        (["wide"], 1),
        (["deep"], 1),
        (["cut"], 1),
        ([""], 2),
        (["my lora", "--base", ""], 2),
        (["my lora", "-o", ""], 2),
        (["my lora", "--base", "absent.gguf"], 1),
        (["my lora", "--base", "my lora"], 1),
        (["my lora", "--base", "text.json"], 1),
        (["my lora", "--base", "no-such-model"], 1),
        (["my lora", "--config", "absent.json"], 1),
        (["my lora", "--config", "text.json"], 1),
        (["my lora", "--config", "list.json"], 1),
        (["my lora", "--config", "empty"], 1),
        (["my lora", "-o", "no/such/folder/x.gguf"], 2),
        (["my lora", "-o", "empty"], 1),
        (["my lora", "--outtype", "q4_0"], 2),
        (["x" * 5000], 1),
        (["a\x00b"], 1),
        ([], 2),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(
    capsys: Capture, arguments: list[str], code: int
) -> None:
    _wrong_inputs()
    before = sorted(Path().rglob("*"))
    has_base = "--base" in arguments
    assert main(["convert", *arguments, *([] if has_base else ["--base", "base.gguf"])]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_neither_llama_cpp_nor_a_screen_nor_torch_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from tui.cli import main; code = main(sys.argv[1:]);"
        "bad = {'textual', 'llama_cpp', 'torch', 'transformers', 'gguf'} & set(sys.modules);"
        "sys.exit(f'loaded {bad}' if bad else code)"
    )
    ended = run_python(
        *("-c", program, "convert", "my lora", "--base", "base.gguf"),
        home=tmp_path / "home",
        folder=tmp_path / "here",
    )
    assert (ended.code, ended.err) == (0, "")


def test_a_folder_in_a_modelfile_is_converted_and_stored(capsys: Capture) -> None:
    Path("Modelfile").write_text("FROM ./base.gguf\nADAPTER ./my lora scale=0.5\n")
    assert main(["create", "mine"]) == 0
    shown = capsys.readouterr()
    assert "my lora was converted for Tiny." in shown.err
    assert shown.out.startswith("created 'mine:latest' (1 adapter, ")
    assert main(["show", "mine", "--json"]) == 0
    (adapter,) = json.loads(capsys.readouterr().out)["adapters"]
    assert (adapter["name"], adapter["scale"], adapter["rank"]) == ("my-lora", 0.5, 4)
    home = Path("../home").resolve()
    assert Path(adapter["path"]).is_relative_to(home / "models" / "blobs")
    assert main(["create", "mine"]) == 0
    assert "my lora had been converted before for Tiny." in capsys.readouterr().err


def test_a_folder_that_does_not_fit_is_refused_with_its_line(capsys: Capture) -> None:
    _wrong_inputs()
    Path("Modelfile").write_text("FROM ./base.gguf\nADAPTER ./deep\n")
    assert main(["create", "mine"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Error: Modelfile:2: ADAPTER ./deep: ")
    assert err.count("\n") == 1


def test_a_folder_is_an_adapter_of_run(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    write_model_files(here)
    assert run_tui("create", "tiny", home=home, folder=here).code == 0
    ended = run_tui(
        *("run", "tiny", "Hi", "--lora", "my lora", "--lora-scale", "0.5", "--json"),
        home=home,
        folder=here,
    )
    assert ended.code == 0, ended.err
    stack = json.loads(ended.out)["stack"]
    assert "my-lora" in json.dumps(stack)
    assert "my lora was converted for Tiny." in ended.err


def test_an_adapter_of_another_method_is_refused_with_what_to_do(capsys: Capture) -> None:
    config = Path("my lora") / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "LOHA"}))
    assert main(["convert", "my lora", "--base", "base.gguf"]) == 1
    err = capsys.readouterr().err
    assert "is of the kind 'LOHA', not LORA: " in err
    assert "convert it with 'tui convert' and --weights FOLDER" in err
    assert main(["convert", "my lora", "--base", "base.gguf", "--rank", "4"]) == 1
    err = capsys.readouterr().err
    # Without the extra that is missing, and with it the base.
    assert "[peft]'" in err or "with --weights FOLDER" in err
    assert main(["convert", "my lora", "--base", "base.gguf", "--weights", "~nobody-here/x"]) == 2
    assert "There is no folder '~nobody-here/x'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--rank", "4"], "my lora is a LoRA already: leave --rank and --weights out."),
        (["--weights", "."], "my lora is a LoRA already: leave --rank and --weights out."),
        (["--rank", "0"], "'0' is neither a rank, such as 16, nor a share"),
        (["--rank", "1.5"], "'1.5' is neither a rank, such as 16, nor a share"),
        (["--rank", "nan"], "'nan' is neither a rank, such as 16, nor a share"),
    ],
)
def test_a_rank_is_for_other_methods_and_makes_sense(
    options: list[str], reason: str, capsys: Capture
) -> None:
    assert main(["convert", "my lora", "--base", "base.gguf", *options]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert reason in shown.err
    assert not Path("my-lora.gguf").exists()


def test_an_adapter_of_another_method_becomes_a_lora_first(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT's own part is tested where it is installed; a plain LoRA stands for its result."""
    asked: list[Any] = []

    def to_lora(folder: Path, weights: Path, rank: float, out: Path, on_progress: Any) -> LoraForm:
        asked.append((folder.name, weights.name, rank))
        on_progress("decomposing", 0.5)
        write_peft(out, MODULES, alpha=8, r=4)
        return LoraForm(out, "LOHA", 0.987, 0.9, "model.layers.1.self_attn.q_proj", 4, 4, 4)

    monkeypatch.setattr("tui.commands.adapters.other_methods.to_lora", to_lora)
    write_peft(Path("my loha"), MODULES, alpha=8, r=4, config={"peft_type": "LOHA"})
    Path("weights").mkdir()
    arguments = ["my loha", "--base", "base.gguf", "--weights", "weights"]
    assert main(["convert", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" into the adapter my-loha.gguf")
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:-1]}
    assert facts["was"] == (
        "LOHA, of which 98.7 % is kept, least 90 % in model.layers.1.self_attn.q_proj"
    )
    found = document(capsys, *arguments, "--rank", "4", "-o", "x.gguf")
    assert found["name"] == "my loha"
    assert found["original"]["method"] == "LOHA"
    assert found["original"]["energy_kept"] == 0.987
    assert asked == [("my loha", "weights", 0.99), ("my loha", "weights", 4)]
    require_fit(Path("x.gguf"), Path("base.gguf"))
    original = Path("my loha/adapter_model.safetensors")
    assert main(["convert", *arguments, "-o", str(original), "--force"]) == 1
    assert "is being read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fuse", "merge"])
def test_a_folder_is_an_adapter_of_fuse_and_merge(capsys: Capture, command: str) -> None:
    name = created("FROM ./base.gguf", "tiny", capsys)
    assert main([command, name, "--lora", "my lora", "-o", "out.gguf"]) == 0
    shown = capsys.readouterr()
    assert "my-lora 1.00" in shown.out
    assert "my lora was converted for Tiny." in shown.err


def test_embeddings_of_a_tied_base_are_converted_for_a_merge_alone(capsys: Capture) -> None:
    write_base(Path("tied.gguf"), is_tied=True)
    n_vocab = len(vocabulary())
    modules = {
        "model.embed_tokens": pair(N_EMBD, n_vocab, 4, seed=1),
        "lm_head": pair(n_vocab, N_EMBD, 4, seed=2),
        **MODULES,
    }
    write_peft(Path("embeddings"), modules, alpha=8, r=4)
    name = created("FROM ./tied.gguf", "tied", capsys)
    assert main(["run", name, "Hi", "--lora", "embeddings"]) == 1
    assert "tui merge" in capsys.readouterr().err
    assert main(["merge", name, "--lora", "embeddings", "-o", "out.gguf"]) == 0
    merged, base = read_header(Path("out.gguf")), read_header(Path("tied.gguf"))
    assert merged.tensors.keys() - base.tensors.keys() == {"output.weight"}
    a, b = modules["lm_head"]
    with WeightFile(merged) as file, WeightFile(base) as before:
        output = file.values(merged.tensors["output.weight"])
        table = before.values(base.tensors["token_embd.weight"])
    np.testing.assert_allclose(output, table + 2.0 * (b @ a), atol=2e-2)  # stored as F16
