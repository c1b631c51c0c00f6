"""`tui inspect`: pages for people, one document for scripts, one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command_line import run_python, write_model_files
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.gguf_raw import RawGguf, text
from tests.support.peft_folders import pair, write_mlx, write_peft
from tests.support.tiny_models import write_adapter, write_base
from tui.cli import main

Capture = pytest.CaptureFixture[str]
Q = "blk.0.attn_q.weight"
MODULES = {
    f"model.layers.{layer}.{name}": pair(n_out, n_in, 4, seed=layer)
    for layer in range(2)
    for name, n_out, n_in in (
        ("self_attn.q_proj", 64, 64),
        ("self_attn.v_proj", 32, 64),
        ("mlp.down_proj", 64, 128),
    )
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model's files, an adapter for another base and adapters of other programs."""
    folder = tmp_path_factory.mktemp("inspect")
    write_model_files(folder)
    quantised = write_base(folder / "q8.gguf", dtype="q8_0")
    write_adapter(folder / "for-q8.gguf", quantised)
    qwen = write_base(folder / "qwen.gguf", architecture="qwen2")
    write_adapter(folder / "qwen-adapter.gguf", qwen)
    write_peft(folder / "peft", MODULES, alpha=8, r=4, dtype="bf16")
    write_mlx(folder / "mlx", MODULES, scale=20.0, r=4)
    (folder / "text.gguf").write_text("This is no model.\n" * 20)
    (folder / "nothing").mkdir()
    whole = (folder / "loud.gguf").read_bytes()
    (folder / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(autouse=True)
def _place(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    home = files / "home"
    monkeypatch.setenv("LORA_TUI_HOME", str(home))
    monkeypatch.chdir(files)
    if not home.exists():
        assert main(["create", "mine", "-f", "Modelfile"]) == 0
        capsys.readouterr()


def page(capsys: Capture, *arguments: str) -> str:
    """Return what is printed for people; nothing else is said."""
    assert main(["inspect", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def document(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """Return the document that is printed for scripts."""
    found: dict[str, Any] = json.loads(page(capsys, *arguments, "--json"))
    return found


def rows(text_: str) -> list[str]:
    """Return the lines with single blanks."""
    return [" ".join(line.split()) for line in text_.splitlines()]


def test_an_adapter_alone_is_described_with_the_norms_of_its_deltas(capsys: Capture) -> None:
    shown = rows(page(capsys, "loud.gguf"))
    for row in ("rank 4", "alpha 8", "scaling 2", "architecture llama", "Rules, without a base"):
        assert row in shown
    assert "attn_q 2 4 8 2 F32 1K 4.1 KB" in shown
    assert "|delta|, Frobenius norms at scale 1" in shown
    norm = np.linalg.norm(deltas_of([(Path("loud.gguf"), 1.0)])[Q])
    assert f"{norm:.1f}" in next(row for row in shown if row.startswith("0 "))


def test_on_a_base_every_rule_is_listed_and_norms_are_relative(capsys: Capture) -> None:
    text_ = page(capsys, "loud", "--base", "mine")
    shown = rows(text_)
    assert "Rules on mine:latest" in shown
    assert sum(row.startswith("✓ ") for row in shown) == 18
    assert not any(row.startswith("✗") for row in shown)
    assert "used at scale 0.5" in shown
    assert "|delta| / |W| in %, Frobenius norms at scale 1" in shown
    assert "\x1b" not in text_, "no escape sequences in a pipe"
    assert all(len(line) <= 80 for line in text_.splitlines() if "/" not in line)


def test_a_model_stands_for_its_adapters_and_its_base(capsys: Capture) -> None:
    shown = rows(page(capsys, "mine"))
    assert {"loud", "calm", "1 loud", "2 calm 0.00"} <= set(shown)
    assert shown.count("✓ 18 of 18 rules hold") == 2
    assert "Overlap (cosine of the deltas)" in shown
    assert any(row.startswith("loud and calm hardly overlap (cosine 0.00 over 14") for row in shown)


@pytest.mark.parametrize("base", ["base.gguf", "q8.gguf"])
def test_the_document_has_the_numbers_of_numpy(capsys: Capture, base: str) -> None:
    found = document(capsys, "loud.gguf", "calm.gguf", "--base", base)
    weights = tensors_of(Path(base))
    deltas = [deltas_of([(Path(name), 1.0)]) for name in ("loud.gguf", "calm.gguf")]
    for adapter, own in zip(found["adapters"], deltas, strict=True):
        assert adapter["fits"] is True
        assert {target["tensor"] for target in adapter["targets"]} == set(own)
        for target in adapter["targets"]:
            delta = own[target["tensor"]]
            norm = np.linalg.norm(delta)
            assert target["norm"] == pytest.approx(norm, rel=1e-6)
            assert target["spectral_norm"] == pytest.approx(np.linalg.norm(delta, 2), rel=1e-6)
            share = norm / np.linalg.norm(weights[target["tensor"]])
            assert target["relative_norm"] == pytest.approx(share, rel=1e-6)
    (overlap,) = found["overlaps"]
    product = sum(np.sum(deltas[0][name] * deltas[1][name]) for name in deltas[0])
    sizes = [np.sqrt(sum(np.sum(delta**2) for delta in own.values())) for own in deltas]
    assert overlap["cosine"] == pytest.approx(product / np.prod(sizes), abs=1e-7)
    assert set(overlap["layers"]) == {"0", "1"}
    assert overlap["sentence"].startswith("loud and calm hardly overlap")


def test_the_document_of_one_adapter_without_a_base(capsys: Capture) -> None:
    found = document(capsys, "loud.gguf")
    (adapter,) = found["adapters"]
    assert (found["base"], found["overlaps"]) == (None, [])
    assert (adapter["fits"], adapter["relative_norm"]) == (None, None)
    assert adapter["sha256"] == document(capsys, "loud.gguf")["adapters"][0]["sha256"]
    assert len(adapter["rules"]) == 12
    assert {(t["rank"], t["alpha"], t["scale"]) for t in adapter["targets"]} == {(4, 8.0, 2.0)}


def test_a_base_may_be_named_among_the_adapters_by_its_file(capsys: Capture) -> None:
    found = document(capsys, "./base.gguf", "loud.gguf")
    assert found["base"]["path"].endswith("/base.gguf")
    assert [(a["name"], a["fits"]) for a in found["adapters"]] == [("loud", True)]
    assert "Rules on base.gguf" in rows(page(capsys, "./base.gguf", "loud.gguf"))


def test_two_of_one_name_are_told_apart(capsys: Capture) -> None:
    found = document(capsys, "loud.gguf", "loud.gguf")
    assert [adapter["name"] for adapter in found["adapters"]] == ["loud", "loud-2"]
    assert found["overlaps"][0]["cosine"] == pytest.approx(1.0)
    assert "strengthen each other" in found["overlaps"][0]["sentence"]


def test_an_adapter_that_does_not_fit_says_which_rule_it_breaks(capsys: Capture) -> None:
    shown = rows(page(capsys, "qwen-adapter.gguf", "--base", "mine"))
    assert "✗ adapter and base have one architecture" in shown
    assert "use the base it was trained on" in " ".join(shown)
    assert "✓ every adapted tensor is in the base" in shown
    found = document(capsys, "qwen-adapter.gguf", "--base", "mine")["adapters"][0]
    assert found["fits"] is False
    (broken,) = [rule for rule in found["rules"] if not rule["is_kept"]]
    assert "'qwen2'" in broken["fault"]


@pytest.mark.parametrize(
    ("folder", "scale", "dtype", "size"),
    [("peft", 2.0, "BF16", "3.1 KB"), ("mlx", 20.0, "F32", "6.1 KB")],
)
def test_another_programs_adapter_is_described_by_its_own_names(
    capsys: Capture, folder: str, scale: float, dtype: str, size: str
) -> None:
    found = document(capsys, folder)["adapters"][0]
    assert (found["format"], found["fits"], found["rules"]) == (folder, None, [])
    by_name = {target["tensor"]: target for target in found["targets"]}
    assert set(by_name) == set(MODULES)
    for name, (a, b) in MODULES.items():
        target = by_name[name]
        assert (target["rank"], target["scale"], target["layer"]) == (4, scale, int(name[13]))
        norm = np.linalg.norm(scale * b.astype(np.float64) @ a)
        assert target["norm"] == pytest.approx(norm, rel=1e-6)
    row = next(row for row in rows(page(capsys, folder)) if row.startswith("mlp.down_proj"))
    assert row == f"mlp.down_proj 2 4 {4 * scale:g} {scale:g} {dtype} 1.5K {size}"


def test_on_a_base_another_programs_adapter_is_converted_first(capsys: Capture) -> None:
    found = document(capsys, "peft", "--base", "mine")["adapters"][0]
    assert found["fits"] is True
    assert found["path"].endswith("/peft")
    assert {target["tensor"] for target in found["targets"]} == {
        f"blk.{layer}.{name}.weight"
        for layer in range(2)
        for name in ("attn_q", "attn_v", "ffn_down")
    }
    alone = document(capsys, "peft")["adapters"][0]
    assert found["norm"] == pytest.approx(alone["norm"], rel=1e-3)  # F16 of BF16
    assert found["relative_norm"] is not None
    both = document(capsys, "peft", "loud", "--base", "mine")
    assert both["overlaps"][0]["tensors_common"] == 6


def test_a_converted_adapter_knows_its_base_whatever_it_is_called(
    capsys: Capture, tmp_path: Path
) -> None:
    out = tmp_path / "made.gguf"
    assert main(["convert", "peft", "--base", "mine", "-o", str(out)]) == 0
    capsys.readouterr()
    same = write_base(tmp_path / "same.gguf", dtype="q8_0", name="Tiny")
    other = write_base(tmp_path / "other.gguf", name="Other")
    for base, n_told in ((same, 0), (other, 1)):
        found = document(capsys, str(out), "--base", str(base))["adapters"][0]
        told = [notice for notice in found["notices"] if "was made for" in notice]
        assert len(told) == n_told, base
    assert found["converter"] == "tui convert (version 1)"


def test_what_cannot_be_converted_for_the_base_is_described_with_the_reason(
    capsys: Capture, tmp_path: Path
) -> None:
    deep = {name.replace("layers.1", "layers.9"): halves for name, halves in MODULES.items()}
    folder = write_peft(tmp_path / "deep", deep, alpha=8, r=4)
    found = document(capsys, str(folder), "--base", "mine")["adapters"][0]
    assert found["fits"] is False
    (rule,) = found["rules"]
    assert rule["rule"] == "the adapter can be converted for the base"
    assert "layers.9" in rule["fault"]
    assert found["norm"] is not None


def test_adapters_of_two_formats_are_not_compared_by_their_names(capsys: Capture) -> None:
    (overlap,) = document(capsys, "peft", "loud.gguf")["overlaps"]
    assert overlap["cosine"] is None
    assert "give a base" in overlap["sentence"]


def test_what_a_file_says_cannot_steer_the_terminal(capsys: Capture, tmp_path: Path) -> None:
    raw = RawGguf.read(Path("loud.gguf"))
    for key in ("name", "description", "author"):
        raw.metadata[f"general.{key}"] = text("\x1b[31mred\x07\nline two, " + "long " * 40)
    path = raw.write(tmp_path / "bad.gguf")
    code = main(["inspect", str(path)])
    out, err = capsys.readouterr()
    assert code == 0
    for character in "\x1b\x07":
        assert character not in out + err
    assert all(len(line) <= 80 for line in out.splitlines() if "/" not in line)
    assert any(row.startswith("description [31mred line two, long long") for row in rows(out))


def test_models_on_copies_of_one_base_are_inspected_together(
    capsys: Capture, tmp_path: Path
) -> None:
    (tmp_path / "Modelfile").write_text("FROM demo\n")
    assert main(["create", "twin", "-f", str(tmp_path / "Modelfile")]) == 0
    capsys.readouterr()
    assert main(["inspect", "demo", "twin", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["adapters"]) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (
            "absent.gguf",
            1,
            "neither a file, pulled ('tui list --adapters') nor a model ('tui list')",
        ),
        ("absent --base mine", 1, "neither a file, in the stack (loud, calm), pulled"),
        ("base.gguf", 1, "base.gguf has no adapters: name one to inspect"),
        ("text.gguf", 1, "is not a GGUF file"),
        ("cut.gguf", 1, "is cut short"),
        ("nothing", 1, "holds no GGUF file"),
        ("loud.gguf --base absent", 1, "model 'absent:latest' not found"),
        ("loud.gguf --base calm.gguf", 1, "is an adapter, not a model"),
        ("loud.gguf --base text.gguf", 1, "is not a GGUF file"),
        ("loud.gguf --base nothing", 1, "holds no GGUF file"),
        ("mine demo", 1, "have different bases: name one with --base"),
        ("hf.co/one", 1, "is no repository of the Hugging Face Hub"),
        (f"{'x' * 5000}", 1, "neither a file, pulled"),
        ("bare", 1, "bare:latest has no adapters"),
        ("", 2, "the following arguments are required: REF"),
        ("loud.gguf --scale 1", 2, "unrecognized arguments"),
    ],
)
def test_wrong_input_gets_one_sentence(
    capsys: Capture, tmp_path: Path, arguments: str, code: int, part: str
) -> None:
    if arguments == "bare":
        (tmp_path / "Modelfile").write_text(f"FROM {Path('base.gguf').absolute()}\n")
        assert main(["create", "bare", "-f", str(tmp_path / "Modelfile")]) == 0
        capsys.readouterr()
    assert main(["inspect", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert part in err


PROGRAM = """
import sys
from tui.cli import main
code = main(["inspect", *sys.argv[1:]])
print(sorted({n.split(".")[0] for n in sys.modules} & set(%r)), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (("loud.gguf", "--base", "base.gguf"), []),
        (("for-q8.gguf", "--base", "q8.gguf"), ["llama_cpp"]),
    ],
)
def test_llama_cpp_is_loaded_for_quantised_weights_only(
    files: Path, tmp_path: Path, arguments: tuple[str, ...], heavy: list[str]
) -> None:
    modules = ("llama_cpp", "textual", "torch", "peft", "transformers", "huggingface_hub")
    ended = run_python(
        *("-c", PROGRAM % (modules,), *arguments), home=tmp_path / "home", folder=files
    )
    assert (ended.code, ended.err.strip()) == (0, str(heavy))
