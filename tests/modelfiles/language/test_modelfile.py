"""What a Modelfile says as a whole, and that writing it down loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfiles.errors import ModelfileError
from modelfiles.language.adapter_line import AdapterLine
from modelfiles.language.modelfile import Modelfile, generated_text, quote, read
from modelfiles.model import AdapterSpec, Kept, Message, Model
from modelfiles.parameters import Parameters
from tests.modelfiles.user_files import Folder

FULL = '''# a model with everything
FROM ./first.gguf
FROM ./base.gguf
SYSTEM first
SYSTEM """You are
brief."""
TEMPLATE {{ .Prompt }}
LICENSE MIT
LICENSE "Apache
2.0"
MESSAGE user Hi
MESSAGE assistant """Hello
there."""
ADAPTER ./a.gguf 0.5
ADAPTER ./b.gguf name=bee
PARAMETER stop "<|end|> "
PARAMETER temperature 0.2
PARAMETER stop User:
PARAMETER mirostat 1
RENDERER r
PARSER p
REQUIRES 0.14.0
DRAFT ./small.gguf
'''


def test_every_directive_is_read() -> None:
    modelfile = Modelfile.from_text(FULL)
    assert modelfile == Modelfile(
        base="./base.gguf",
        adapters=(AdapterLine("./a.gguf", 0.5), AdapterLine("./b.gguf", 1.0, "bee")),
        parameters=Parameters(temperature=0.2, stop=("<|end|> ", "User:")),
        system="You are\nbrief.",
        template="{{ .Prompt }}",
        messages=(Message("user", "Hi"), Message("assistant", "Hello\nthere.")),
        licenses=("MIT", "Apache\n2.0"),
        kept=Kept(
            "r",
            "p",
            "0.14.0",
            ("./small.gguf",),
        ),
        earlier_bases=("./first.gguf",),
    )
    assert modelfile.base_line == 3
    assert len(modelfile.warnings) == 1


def test_a_message_may_hold_a_colon_and_be_empty() -> None:
    modelfile = Modelfile.from_text("FROM m\nMESSAGE user a: b\nMESSAGE user ")
    assert modelfile.messages == (Message("user", "a: b"), Message("user", ""))


@pytest.mark.parametrize("text", ["0.14", "v1.2.3", "0.14.0-rc1", "1"])
def test_requires_takes_versions(text: str) -> None:
    assert Modelfile.from_text(f"FROM x\nREQUIRES {text}\n").kept.requires == text


@pytest.mark.parametrize("text", ["latest", "1.2.3.4", "01.2", ">=1.0"])
def test_requires_refuses_what_is_no_version(text: str) -> None:
    with pytest.raises(ModelfileError, match=r"\(line 2\): requires must be a valid semver"):
        Modelfile.from_text(f"FROM x\nREQUIRES {text}\n")


def test_reading_a_file_names_it_in_errors(folder: Folder) -> None:
    path = folder.modelfile("FROM x\nPARAMETER seed many\n")
    with pytest.raises(ModelfileError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path} (line 2): invalid int value [many]")
    assert raised.value.line == 2


def test_a_missing_file_and_a_folder_are_no_modelfile(tmp_path: Path) -> None:
    with pytest.raises(ModelfileError, match="there is no Modelfile at"):
        read(tmp_path / "absent")
    with pytest.raises(ModelfileError, match="is a folder, not a Modelfile"):
        read(tmp_path)


def test_an_empty_file_has_no_from_line(folder: Folder) -> None:
    with pytest.raises(ModelfileError, match=r"\(line 1\): no FROM line"):
        read(folder.modelfile(""))


VALUES = st.text(alphabet='ab #"\t\n\r\u3000{é:', max_size=12) | st.text(
    alphabet=st.characters(codec="utf-8"), max_size=8
)
# Behind a reference with three quotes no options can stand; see the test of ADAPTER lines.
REFERENCES = VALUES.filter(lambda value: '""' not in value)
NAMES = st.lists(st.from_regex(r"\A[a-z][a-z0-9-]{0,5}\Z"), unique=True, max_size=3)


@st.composite
def modelfiles(draw: st.DrawFn) -> Modelfile:
    names = draw(NAMES)
    lines = [
        AdapterLine(
            draw(REFERENCES), draw(st.floats(-1000, 1000)), draw(st.sampled_from([name, None]))
        )
        for name in names
    ]
    roles = st.sampled_from(["system", "user", "assistant"])
    return Modelfile(
        base=draw(VALUES),
        adapters=tuple(lines),
        parameters=Parameters(
            num_ctx=draw(st.none() | st.integers(1, 2**31 - 1)),
            temperature=draw(st.none() | st.floats(0, 1e6)),
            use_mmap=draw(st.none() | st.booleans()),
            stop=draw(st.none() | st.lists(VALUES.filter(bool), min_size=1, max_size=2).map(tuple)),
        ),
        system=draw(st.none() | VALUES),
        template=draw(st.none() | VALUES),
        messages=tuple(draw(st.lists(st.builds(Message, roles, VALUES), max_size=2))),
        licenses=tuple(draw(st.lists(VALUES, max_size=2))),
        kept=Kept(
            draw(st.none() | VALUES),
            draw(st.none() | VALUES),
            draw(st.sampled_from([None, "0.14.0"])),
            tuple(draw(st.lists(VALUES, max_size=1))),
        ),
        earlier_bases=tuple(draw(st.lists(VALUES, max_size=1))),
    )


@settings(max_examples=80)
@given(modelfiles())
def test_a_record_reads_back_as_itself(modelfile: Modelfile) -> None:
    text = modelfile.to_text()
    assert Modelfile.from_text(text) == modelfile
    assert Modelfile.from_text(text.encode("utf-8")) == modelfile


@settings(max_examples=250)
@given(VALUES)
def test_any_value_with_a_form_is_quoted(value: str) -> None:
    assert Modelfile.from_text(f"FROM x\nSYSTEM {quote(value)}\n").system == value


def test_a_text_that_no_quoting_can_hold_is_refused() -> None:
    with pytest.raises(ModelfileError, match="cannot be written in a Modelfile"):
        Modelfile("x", system='def f():\n    """Say f."""\n').to_text()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain text", "plain text"),
        ("", '""'),
        (" leading", '" leading"'),
        ("trailing\t", '"trailing\t"'),
        ("two\nlines", '"two\nlines"'),
        ('say "hi"\nbye', '"""say "hi"\nbye"""'),
        ('"quoted"', '""quoted""'),
        ("# not a comment", "# not a comment"),
    ],
)
def test_values_are_written_in_their_plainest_form(value: str, written: str) -> None:
    assert quote(value) == written


def test_a_model_is_written_with_its_paths_scales_and_names() -> None:
    model = Model(
        name="mine:latest",
        base=Path("/models/base.gguf"),
        adapters=(AdapterSpec("pirate", Path("/models/a b.gguf"), 0.5),),
        parameters=Parameters(num_ctx=1048576, temperature=1.0),
        system="Be brief.",
    )
    text = generated_text(model)
    assert text.startswith('# Modelfile generated by "tui show --modelfile"\n')
    assert "# FROM mine:latest\n" in text
    assert "\nFROM /models/base.gguf\nADAPTER /models/a b.gguf scale=0.5 name=pirate\n" in text
    assert "\nPARAMETER num_ctx 1048576\nPARAMETER temperature 1.0\n" in text
    assert Modelfile.from_text(text) == Modelfile.from_model(model)
