"""`tui merge` at the command line: what it prints, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.adapters.merging.metadata import merged_of
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from engine.llama.quants import is_writable
from tests.support.command_line import run_tui, write_model_files
from tests.support.merging import write_quantised, write_untied
from tests.support.split_base import write_split
from tests.support.tiny_models import write_adapter, write_base
from tui.cli import main
from tui.commands.adapters.merge import KEEP, TYPES
from tui.commands.adapters.merge_report import share_text

Capture = pytest.CaptureFixture[str]

MIX = "FROM ./{base}\nADAPTER ./weak.gguf scale=0.5\nADAPTER ./weak.gguf scale=0 name=off\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_model_files(folder)
    base = folder / "base.gguf"
    write_adapter(folder / "weak.gguf", base, scale_of_weights=0.01)
    write_quantised(base, folder / "small.gguf", GgmlType.Q4_0)
    write_split(folder / "small.gguf", "parts", 2)
    return folder


@pytest.fixture(autouse=True)
def _place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own and stands in the folder of the model's files."""
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(files)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.gguf"


def create(capsys: Capture, tmp_path: Path, base: str, name: str = "mix") -> str:
    """Create a model of a base and the weak adapter, on and off."""
    modelfile = Path(f"{name}.modelfile")
    modelfile.write_text(MIX.format(base=base))
    assert main(["create", name, "-f", str(modelfile)]) == 0
    capsys.readouterr()
    return name


def refused(capsys: Capture, *arguments: str, code: int = 1) -> str:
    """Run `tui merge`, which fails; return the one sentence on stderr."""
    assert main(["merge", *arguments]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize("text", TYPES)
def test_every_type_on_offer_can_be_written(text: str) -> None:
    assert text == KEEP or is_writable(GgmlType[text.upper()])


def test_the_report_names_kinds_shares_and_the_file(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    create(capsys, tmp_path, "small.gguf")
    assert main(["merge", "mix", "-o", str(out)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == f"merged mix:latest with weak 0.50 into {out}"
    assert [line.split(maxsplit=1)[0] for line in lines[1:4]] == ["tensors", "size", "kept"]
    assert lines[1].endswith(" changed, 7 copied byte for byte")
    assert lines[3].startswith("  kept       100 % of what the stack changes; least 99.")
    assert lines[5].split() == ["CHANGED", "TENSORS", "FROM", "TO", "KEPT", "LEAST"]
    assert lines[6].split() == ["blk.*.attn_q.weight", "2", "q4_0", "f16", *["100", "%"] * 2]
    assert shown.err == ""


def test_a_type_whose_blocks_do_not_fit_the_rows_is_told(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    create(capsys, tmp_path, "small.gguf")
    assert main(["merge", "mix", "-o", str(out), "--outtype", "q6_k", "--force"]) == 0
    told = capsys.readouterr().err
    changed = [t for t in read_header(out).tensors.values() if t.type is GgmlType.Q8_0]
    assert changed
    assert f"{len(changed)} of the " in told
    assert " are q8_0, as their rows are no whole number of q6_k blocks." in told


def test_a_type_that_fits_is_not_remarked_on(capsys: Capture, tmp_path: Path, out: Path) -> None:
    create(capsys, tmp_path, "small.gguf")
    assert main(["merge", "mix", "-o", str(out), "--outtype", "q8_0", "--force"]) == 0
    assert "blocks" not in capsys.readouterr().err


def test_json_is_one_document(capsys: Capture, tmp_path: Path, out: Path) -> None:
    create(capsys, tmp_path, "small.gguf")
    assert main(["merge", "mix", "--json", "-o", str(out), "--outtype", "Q8_0"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(out)
    assert document["size_bytes"] == out.stat().st_size
    assert [(entry["name"], entry["scale"]) for entry in document["stack"]] == [("weak", 0.5)]
    assert len(document["tensors"]) == 14
    first = document["tensors"][0]
    assert (first["name"], first["from"], first["to"]) == ("blk.0.attn_q.weight", "q4_0", "q8_0")
    assert 0.9 < first["retained"] < 1.1
    assert (document["n_copied"], document["n_requantised"]) == (7, 0)
    assert document["is_untied"] is False
    assert document["notices"] == []


def test_an_adapter_of_the_command_line_is_merged_and_named(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    create(capsys, tmp_path, "base.gguf")
    arguments = ["--lora", "loud.gguf", "--lora-scale", "-0.25", "--lora", "weak"]
    assert main(["merge", "mix", "-o", str(out), *arguments]) == 0
    found = merged_of(read_header(out))
    assert found is not None
    assert found.names == ("weak", "loud")
    assert found.scales == (1.0, -0.25)


def test_a_split_base_becomes_one_file(capsys: Capture, tmp_path: Path, out: Path) -> None:
    create(capsys, tmp_path, "parts-00001-of-00002.gguf")
    assert main(["merge", "mix", "-o", str(out)]) == 0
    assert len(read_header(out).tensors) == 21


def test_a_merged_model_answers(capsys: Capture, tmp_path: Path, out: Path) -> None:
    create(capsys, tmp_path, "base.gguf")
    assert main(["merge", "mix", "-o", str(out)]) == 0
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(f"FROM {out}\nPARAMETER num_thread 1\nPARAMETER num_predict 4\n")
    assert main(["create", "merged", "-f", str(modelfile)]) == 0
    ended = run_tui("run", "merged", "Hello", home=tmp_path / "home", folder=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.strip()


def test_too_little_retained_fails_unless_forced(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    create(capsys, tmp_path, "small.gguf")
    sentence = refused(capsys, "mix", "-o", str(out), "--outtype", "keep")
    assert "of what the stack changes in the first" in sentence
    assert not out.exists()
    assert main(["merge", "mix", "-o", str(out), "--outtype", "keep", "--force"]) == 0
    shown = capsys.readouterr()
    assert "14 tensors hold less than 90 % of its change" in shown.err
    assert out.exists()


def test_an_original_gives_a_small_file_with_all_of_the_stack(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    create(capsys, tmp_path, "small.gguf")
    assert main(["merge", "mix", "-o", str(out), "--from-original", "base.gguf", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {(t["from"], t["to"]) for t in document["tensors"]} == {("f32", "q4_0")}
    assert out.stat().st_size < 1.1 * Path("small.gguf").stat().st_size


def test_an_existing_output_stands_without_force(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    create(capsys, tmp_path, "base.gguf")
    out.write_bytes(b"older")
    assert "is there already" in refused(capsys, "mix", "-o", str(out))
    assert out.read_bytes() == b"older"
    assert main(["merge", "mix", "-o", str(out), "--force"]) == 0
    assert merged_of(read_header(out)) is not None


def test_a_pipe_is_never_replaced_by_a_file(capsys: Capture, tmp_path: Path) -> None:
    create(capsys, tmp_path, "base.gguf")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is neither a file nor a folder" in refused(capsys, "mix", "-o", str(pipe), "--force")
    assert pipe.is_fifo()


def test_a_link_stays_one_and_leads_to_the_output(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    create(capsys, tmp_path, "base.gguf")
    out.write_bytes(b"older")
    link = tmp_path / "link.gguf"
    link.symlink_to(out)
    assert main(["merge", "mix", "-o", str(link), "--force"]) == 0
    assert link.is_symlink()
    assert merged_of(read_header(out)) is not None


def test_an_adapter_of_tied_embeddings_can_be_merged(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    tied = write_base(tmp_path / "tied.gguf", is_tied=True)
    untied = write_untied(tied, tmp_path / "untied.gguf")
    lora = write_adapter(tmp_path / "embeddings.gguf", untied, targets=["token_embd"])
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(f"FROM {tied}\n")
    assert main(["create", "tied", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    ended = run_tui(
        "run", "tied", "--lora", str(lora), "Hi", home=tmp_path / "home", folder=tmp_path
    )
    assert ended.code == 1
    assert "merge it with 'tui merge'" in ended.err
    assert main(["merge", "tied", "--lora", str(lora), "-o", str(out)]) == 0
    assert "output     has weights of its own now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("mix", 2, "-o/--output"),
        ("-o {out}", 2, "NAME"),
        ("mix -o {out} --outtype q4_k_m", 2, "invalid choice: 'q4_k_m'"),
        ("mix -o {out} --outtype", 2, "expected one argument"),
        ("mix -o {out} --lora-scale 1", 2, "applies to the --lora before it"),
        ("mix -o /no/such/folder/out.gguf", 2, "There is no folder"),
        ("nobody -o {out}", 1, "nobody"),
        ("mix -o {out} --lora missing.gguf", 1, 'There is no adapter "missing.gguf"'),
        ("mix -o {out} --lora base.gguf", 1, "is a model, not a LoRA adapter"),
        ("mix -o {out} --lora weak --lora-scale 0", 1, "all its adapters are at scale 0"),
        ("mix -o {out} --from-original missing.gguf", 1, "does not exist"),
        ("mix -o {out} --from-original small.gguf", 1, "is quantised itself"),
        ("mix -o {out} --from-original weak.gguf", 1, "is an adapter"),
        ("mix -o {folder} --force", 1, "is a folder"),
    ],
)
def test_a_wrong_use_is_one_sentence(
    capsys: Capture, tmp_path: Path, out: Path, arguments: str, code: int, sentence: str
) -> None:
    create(capsys, tmp_path, "small.gguf")
    words = arguments.format(out=out, folder=tmp_path).split()
    assert sentence in refused(capsys, *words, code=code)
    assert not out.exists()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_a_model_without_adapters_is_nothing_to_merge(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(f"FROM {Path('base.gguf').absolute()}\n")
    assert main(["create", "bare", "-f", str(modelfile)]) == 0
    capsys.readouterr()
    assert "it has no adapters; add one with --lora" in refused(capsys, "bare", "-o", str(out))


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.99951, "100 %"), (0.999, "99.9 %"), (0.0312, "3.1 %"), (1.02, "102.0 %")],
)
def test_only_all_of_it_is_100_percent(share: float, text: str) -> None:
    assert share_text(share) == text
