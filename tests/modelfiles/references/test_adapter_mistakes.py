"""A mistake on an ADAPTER, FROM or PARAMETER line is named itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.errors import ModelfilesError
from modelfiles.language.modelfile import Modelfile
from modelfiles.references.resolve import resolve

COMMENT = "a # begins a comment only at the start of a line"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("base.gguf", "formal.gguf", "my style.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    return tmp_path


def problem(folder: Path, lines: str) -> str:
    with pytest.raises(ModelfilesError) as caught:
        resolve(Modelfile.from_text(lines), folder, None, "x:latest")
    return str(caught.value)


@pytest.mark.parametrize(
    ("argument", "mistake"),
    [
        ("./formal.gguf 0.3 # light", COMMENT),
        ("./formal.gguf # light", COMMENT),
        ("./formal.gguf scale=0.3 # light", COMMENT),
        ("./my style.gguf 0.3 # light", COMMENT),
        ("hf.co/ann/formal 0.3 # light", COMMENT),
        ("./missing.gguf 0.3 # light", COMMENT),
        ("./formal.gguf 0.5 0.7", "the line has two scales, 0.5 and another: give one"),
        ("./formal.gguf 0.5 scale=0.7", "the line has two scales, 0.5 and another: give one"),
        ("./formal.gguf scale = 0.5", "scale= takes its value without blanks around the ="),
        ("./formal.gguf scale= 0.5", "scale= takes its value without blanks around the ="),
        ("./formal.gguf scale =0.5", "scale= takes its value without blanks around the ="),
        ("./formal.gguf name = polite", "name= takes its value without blanks around the ="),
        ("./formal.gguf strength=9", 'unknown option "strength": use scale= or name='),
        ("./formal.gguf half", 'the scale must be a finite number, not "half"'),
    ],
)
def test_the_mistake_of_an_adapter_line_is_named(folder: Path, argument: str, mistake: str) -> None:
    text = problem(folder, f"FROM ./base.gguf\nADAPTER {argument}\n")
    assert mistake in text
    assert text.startswith("(line 2): ")


def test_blanks_and_hashes_in_names_that_exist_are_names(folder: Path) -> None:
    (folder / "a # b 0.5").write_bytes(b"GGUF")
    for argument in ("./my style.gguf", "./my style.gguf 0.5", "./a # b 0.5", "./a # b 0.5 0.3"):
        lines = f"FROM ./base.gguf\nADAPTER {argument}\n"
        model = resolve(Modelfile.from_text(lines), folder, None, "x:latest")
        assert len(model.adapters) == 1


def test_a_comment_behind_another_value_is_named_too(folder: Path) -> None:
    assert COMMENT in problem(folder, "FROM ./base.gguf # mine\n")
    assert COMMENT in problem(folder, "FROM ./base.gguf\nPARAMETER temperature 0.3 # low\n")
