"""A thousand damaged Modelfiles through `tui create`: a model or one sentence with its line."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.support.tiny_models import write_adapter, write_base
from tui.cli import main

N_MUTATED = 1000
SOUND = [
    "FROM ./base.gguf\nADAPTER ./lora.gguf scale=0.5 name=a\nADAPTER ./lora.gguf 0.25\n",
    'FROM base.gguf\n# note\nSYSTEM """\nBe brief.\n"""\nPARAMETER stop "x"\nPARAMETER seed 1\n',
    "FROM small\nPARAMETER temperature 0.5\nMESSAGE user hi\nMESSAGE assistant ho\n",
    'FROM ./folder\nTEMPLATE """{{ .Prompt }}"""\nLICENSE MIT\nREQUIRES 0.14\n',
    "FROM base.gguf\r\nPARAMETER num_ctx 128\r\nDRAFT ./base.gguf\r\nRENDERER r\r\nPARSER p\r\n",
    "\ufeffFROM ./base.gguf\nADAPTER ./lora.gguf\nPARAMETER mirostat 1\nPARAMETER top_p 0.5\n",
]
DEBRIS = [
    *("", '"', '"""', "\n", "\r", " ", "\t", "\0", "\x1b[2J", "\u200d", "\ufeff", "#", "0", "-1"),
    *("../", "~", "~nobody/", "/", ".gguf", "FROM ", "ADAPTER ", "scale=", "name=", "nan", "1e999"),
    *("PARAMETER ", "stop ", "MESSAGE user ", "REQUIRES ", "DRAFT ", "TEMPLATE ", "{{ end }}"),
    *(
        "lora.gguf",
        "base.gguf",
        "cut.gguf",
        "noise.gguf",
        "weights.safetensors",
        "small",
        "x" * 300,
    ),
    *("FROM ./base.gguf\n", "base-00001-of-00002.gguf", "\ud800", "\xe9", ":latest", "demo"),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a base, an adapter and files that are neither."""
    base = write_base(tmp_path / "base.gguf", n_layer=1)
    write_adapter(tmp_path / "lora.gguf", base, targets=["attn_q"], rank=1)
    (tmp_path / "cut.gguf").write_bytes(base.read_bytes()[:5000])
    (tmp_path / "noise.gguf").write_bytes(random.Random(1).randbytes(400))
    (tmp_path / "weights.safetensors").write_bytes(b"\0" * 16)
    (tmp_path / "base-00001-of-00002.gguf").write_bytes(base.read_bytes())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "only.gguf").write_bytes(base.read_bytes())
    (tmp_path / "Small").write_text("FROM ./base.gguf\nSYSTEM Be small.\n")
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["create", "small", "-f", "Small"]) == 0
    return tmp_path


def mutated(source: random.Random) -> bytes:
    """Return a sound Modelfile with one to three lines or characters of it damaged."""
    text = source.choice(SOUND)
    for _ in range(source.randint(1, 3)):
        lines = text.splitlines(keepends=True) or [""]
        place = source.randrange(len(lines))
        words = lines[place].split(" ")
        debris = source.choice(DEBRIS)
        match source.randrange(6):
            case 0:
                begin = source.randint(0, len(text))
                text = text[:begin] + debris + text[begin + source.choice([0, 1, 4]) :]
                continue
            case 1:
                lines[place] = " ".join([*words[:-1], f"{debris}\n"])
            case 2:
                lines[place] = " ".join([words[0], debris, *words[1:]])
            case 3:
                lines.insert(place, source.choice(source.choice(SOUND).splitlines(keepends=True)))
            case 4:
                del lines[place]
            case 5:
                lines[place] = lines[place].rstrip() + f" {debris}\n"
        text = "".join(lines)
    return text.encode("utf-16" if source.random() < 0.05 else "utf-8", "surrogatepass")


def test_damage_gives_a_model_or_one_sentence_with_its_line(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = random.Random(3)
    codes = []
    for _ in range(N_MUTATED):
        content = mutated(source)
        (files / "Modelfile").write_bytes(content)
        capsys.readouterr()
        code = main(["create", "mutated"])
        shown = capsys.readouterr()
        codes.append(code)
        lines = shown.err.splitlines()
        assert all(line.isprintable() for line in lines), content
        if code == 0:
            assert shown.out.startswith("created 'mutated:latest' ("), content
            assert all(re.match(r"(Note|Warning): Modelfile:", line) for line in lines), content
        else:
            assert (code, shown.out) == (1, ""), content
            errors = [line for line in lines if not line.startswith(("Note: ", "Warning: "))]
            assert len(errors) == 1, content
            assert re.match(r"Error: Modelfile:[1-9]\d*: .", errors[0]), content
    assert min(codes.count(0), codes.count(1)) > N_MUTATED // 10, "both must be tried"
