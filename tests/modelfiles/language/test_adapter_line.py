"""ADAPTER lines: reference, scale and name, in every form they may be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.errors import ModelfileError
from modelfiles.language.adapter_line import AdapterLine
from modelfiles.language.modelfile import Modelfile


def line(argument: str) -> AdapterLine:
    return Modelfile.from_text(f"FROM x\nADAPTER {argument}\n").adapters[0]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("./a.gguf", AdapterLine("./a.gguf")),
        ("./a.gguf 0.5", AdapterLine("./a.gguf", 0.5)),
        ("./a.gguf\t-1", AdapterLine("./a.gguf", -1.0)),
        ("./a.gguf scale=0.5", AdapterLine("./a.gguf", 0.5)),
        ("./a.gguf scale=0 name=pirate", AdapterLine("./a.gguf", 0.0, "pirate")),
        ("./a.gguf name=pirate   scale=1e-1", AdapterLine("./a.gguf", 0.1, "pirate")),
        ("./a.gguf 0.5 name=pirate", AdapterLine("./a.gguf", 0.5, "pirate")),
        ("./my lora.gguf .75", AdapterLine("./my lora.gguf", 0.75)),
        ('"./my lora.gguf" 0.75', AdapterLine("./my lora.gguf", 0.75)),
        ('"./my lora.gguf" scale=0.75 name=a.b', AdapterLine("./my lora.gguf", 0.75, "a.b")),
        ('"""./my "l".gguf""" name=m', AdapterLine('./my "l".gguf', 1.0, "m")),
        ('"./style 0.5"', AdapterLine("./style 0.5")),
        ('"./style scale=x"', AdapterLine("./style scale=x")),
        ("0.5", AdapterLine("0.5")),
        ("./a name.gguf", AdapterLine("./a name.gguf")),
        ("./a=b.gguf", AdapterLine("./a=b.gguf")),
        ("../up/a.gguf 2", AdapterLine("../up/a.gguf", 2.0)),
    ],
)
def test_a_line_is_reference_scale_and_name(argument: str, expected: AdapterLine) -> None:
    assert line(argument) == expected
    assert line(argument).line == 2


def test_the_whole_argument_is_kept_while_two_readings_are_possible() -> None:
    assert line("./a.gguf 0.5").argument == "./a.gguf 0.5"
    assert line("./a.gguf").argument is None
    assert line('"./a.gguf" 0.5').argument is None


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("./a.gguf scale=loud", 'the scale must be a finite number, not "loud"'),
        ("./a.gguf scale=", 'the scale must be a finite number, not ""'),
        ("./a.gguf scale=1_0", 'the scale must be a finite number, not "1_0"'),
        ("./a.gguf scale=nan", "finite number"),
        ("./a.gguf nan", "finite number"),
        ("./a.gguf -inf", "finite number"),
        ("./a.gguf 1e999", "finite number"),
        ('"./a.gguf" Infinity', "finite number"),
        ("./a.gguf scale=1001", "between -1000 and 1000"),
        ("./a.gguf scale=1 scale=2", "scale= is given twice"),
        ("./a.gguf name=a name=b", "name= is given twice"),
        ("./a.gguf name=a/b", "an adapter's name is made of"),
        ("./a.gguf name=", "an adapter's name is made of"),
        ("./a.gguf name=-x", "an adapter's name is made of"),
        ('"./a.gguf" loud', 'only scale=<number> and name=<id> may follow, not "loud"'),
        ('"./a.gguf" "./b.gguf"', "after the closing quote"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(argument: str, reason: str) -> None:
    with pytest.raises(ModelfileError) as raised:
        line(argument)
    assert reason in str(raised.value)
    assert raised.value.line == 2
    assert str(raised.value).startswith("(line 2): ")
    assert "the line reads" in str(raised.value)


def test_two_lines_cannot_claim_one_name() -> None:
    with pytest.raises(ModelfileError, match=r"\(line 3\): the adapter name \"p\" is already"):
        Modelfile.from_text("FROM x\nADAPTER a name=p\nADAPTER b name=p\n")


REFERENCES = st.text(alphabet="ab ./\"'=0\t\n\u3000-", max_size=12) | st.sampled_from(
    ["a scale=1", "a 0.5", 'a"""', '"a" 1', "scale=2", "nan", "name=x", '"""a""" 1', "a\r\n b"]
)


@given(
    reference=REFERENCES,
    scale=st.floats(-1000, 1000) | st.just(1.0),
    name=st.none() | st.from_regex(r"\A\w[\w.-]{0,5}\Z"),
)
def test_a_written_line_reads_back_as_itself(reference: str, scale: float, name: str) -> None:
    record = AdapterLine(reference, scale, name)
    try:
        text = record.to_text()
    except ModelfileError:
        # Only a reference that holds three quotes of its own has no form.
        assert '"""' in f'"{reference}"'
        return
    assert Modelfile.from_text(f"FROM x\n{text}\nSYSTEM after\n").adapters == (record,)


def test_ordinary_lines_are_written_plainly() -> None:
    assert AdapterLine("./a.gguf").to_text() == "ADAPTER ./a.gguf"
    assert AdapterLine("./a b.gguf", 0.5).to_text() == "ADAPTER ./a b.gguf scale=0.5"
    assert AdapterLine("/a", 1.0, "x").to_text() == "ADAPTER /a scale=1.0 name=x"
    assert AdapterLine("a 0.5").to_text() == 'ADAPTER "a 0.5"'
