"""The Modelfile language: every case derived from Ollama's source, and where this one differs."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfiles.errors import ModelfileError
from modelfiles.language.commands import Command, parse
from tests.support.places import MODELFILE_DATA

CASES: list[dict[str, Any]] = json.loads(
    (MODELFILE_DATA / "modelfile.json").read_text(encoding="utf-8")
)
_LINE = re.compile(r"\(line (\d+)\): ")

# Ollama drops characters that cannot be seen; here they stay in values.
KEPT = {
    "nbsp-inside-value-is-dropped": [["model", "e"], ["system", "a\u00a0b"]],
    "ideographic-space-is-dropped": [["model", "e"], ["system", "東京\u3000大阪"]],
    "control-characters-are-dropped": [["model", "e"], ["system", "a\x07b\x0cc\x1bd"]],
}
# Ollama counts the line end that it stumbles over; the true line is the command's own.
TRUE_LINES = {
    "from-keyword-then-newline": 1,
    "unknown-command-no-argument": 2,
    "parameter-missing-everything-newline": 2,
}
# `PARAMETER model x` is no FROM, and a scale may follow a quoted ADAPTER reference.
DIFFERENT = {
    "parameter-named-model-counts-as-from",
    "adapter-quoted-path-then-number-is-unterminated",
}


def source(case: dict[str, Any]) -> bytes | str:
    if "modelfile_b64" in case:
        return base64.b64decode(case["modelfile_b64"])
    return str(case["modelfile"])


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


@named([case for case in CASES if "expect" in case and case["name"] not in DIFFERENT])
def test_commands_of_every_case(case: dict[str, Any]) -> None:
    expected = KEPT.get(case["name"], case["expect"])
    assert [[c.name, c.args] for c in parse(source(case))] == expected


@named([case for case in CASES if "error" in case and case["name"] not in DIFFERENT])
def test_error_of_every_case(case: dict[str, Any]) -> None:
    with pytest.raises(ModelfileError) as raised:
        parse(source(case))
    assert _LINE.sub("", case["error"]) in str(raised.value)
    assert raised.value.line is not None
    assert str(raised.value).startswith(f"(line {raised.value.line}): ")
    line = _LINE.match(case["error"])
    if line is not None:
        assert raised.value.line == TRUE_LINES.get(case["name"], int(line[1]))


def test_no_case_is_left_out() -> None:
    assert len(CASES) == 97
    assert {case["name"] for case in CASES} >= DIFFERENT | KEPT.keys() | TRUE_LINES.keys()


def test_a_parameter_is_never_a_directive() -> None:
    commands = parse("FROM x\nPARAMETER system y\n")
    assert commands[1] == Command("system", "y", 2, is_parameter=True)
    with pytest.raises(ModelfileError, match="no FROM line"):
        parse("PARAMETER model sneaky\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_lines_are_counted_once_whatever_ends_them(end: str) -> None:
    text = end.join(["FROM x", "", 'SYSTEM "one', 'two"', "# note", "PARAMETER seed 1"])
    assert [(c.name, c.line) for c in parse(text)] == [("model", 1), ("system", 3), ("seed", 6)]


def test_an_error_shows_the_line_its_text_and_the_nearest_word() -> None:
    with pytest.raises(ModelfileError) as raised:
        parse("FROM x\r\n\r\nSYSTM be brief\r\n")
    message = str(raised.value)
    assert message.startswith('(line 3): command must be one of "from", ')
    assert 'not "SYSTM" (did you mean "system"?)' in message
    assert message.endswith('; the line reads "SYSTM be brief"')
    with pytest.raises(ModelfileError, match=r'not "asistant" \(did you mean "assistant"\?\)'):
        parse("FROM x\nMESSAGE asistant hi\n")


def test_an_error_shows_no_control_characters() -> None:
    with pytest.raises(ModelfileError) as raised:
        parse("FROM x\nEVIL \x1b]0;title\x07\x1b[2J\n")
    assert str(raised.value).isprintable()


def test_an_unclosed_quote_is_reported_where_it_opens() -> None:
    with pytest.raises(ModelfileError) as raised:
        parse('FROM x\nSYSTEM """a\nb\nc\n')
    assert raised.value.line == 2


@pytest.mark.parametrize(
    ("argument", "args", "is_quoted"),
    [
        ('"./a b.gguf"', "./a b.gguf", True),
        ('"./a b.gguf" 0.5', '"./a b.gguf" 0.5', False),
        ('"./a.gguf" scale=2 name=x', '"./a.gguf" scale=2 name=x', False),
        ('"""./a "b".gguf""" 0.5  ', '"""./a "b".gguf""" 0.5', False),
        ("./a.gguf 0.5", "./a.gguf 0.5", False),
    ],
)
def test_text_may_follow_a_closing_quote_on_an_adapter_line(
    argument: str, args: str, is_quoted: bool
) -> None:
    commands = parse(f"FROM x\nADAPTER {argument}\nSYSTEM after\n")
    assert [c.args for c in commands] == ["x", args, "after"]
    assert commands[1].is_quoted is is_quoted


def test_a_quoted_reference_does_not_reach_into_the_next_command() -> None:
    text = 'FROM x\nADAPTER """a"""\nADAPTER """b""" 0.5\nSYSTEM """c""" d\n"'
    with pytest.raises(ModelfileError) as raised:
        parse(text)
    assert raised.value.line == 4
    assert [c.args for c in parse(text[: text.index("SYSTEM")])] == ["x", "a", '"""b""" 0.5']


def test_long_values_are_read_in_linear_time() -> None:
    # Looking at the whole value again at every line end would take hours here.
    body = "line of text\n" * 200_000 + "\n" * 200_000
    assert parse(f'FROM x\nLICENSE """{body}"""\n')[1].args == body


PIECES = st.sampled_from(
    [
        *("FROM ", "SYSTEM ", "system\t", "LICENSE", "PARAMETER ", "stop ", "MESSAGE ", "user "),
        *('"', '"""', "\n", "\r\n", "\r", " ", "\t", "#", "a", "B1", "\u3000", "=", "é", "\ufeff"),
    ]
)


TEXTS = st.lists(PIECES, max_size=25).map("".join)


@settings(max_examples=250)
@given(TEXTS | TEXTS.map("FROM x\n".__add__))
def test_reads_what_the_state_machine_reads(text: str) -> None:
    try:
        read: list[tuple[str, str]] | None = [(c.name, c.args) for c in parse(text)]
    except ModelfileError:
        read = None
    assert read == character_by_character(text.removeprefix("\ufeff"))


def character_by_character(text: str) -> list[tuple[str, str]] | None:
    """Ollama's machine as its source states it, one character at a time; None is any error.

    It keeps invisible characters in values and drops them between commands.
    """
    state, buffer, name, prefix = "nil", "", "", ""
    commands: list[tuple[str, str]] = []
    directives = ("from", "license", "template", "system", "draft", "renderer", "requires")

    def unquoted(value: str) -> str | None:
        value = value.strip(" \t\r\n")
        if value.startswith('"""'):
            return value[3:-3] if len(value) >= 6 and value.endswith('"""') else None
        if value.startswith('"'):
            return value[1:-1] if len(value) >= 2 and value.endswith('"') else None
        return value

    def finish(value: str) -> None:
        commands.append(("model" if name == "from" else name, prefix + value))

    for c in text:
        is_letter = c.isascii() and c.isalpha()
        if state == "nil":
            if c == "#":
                state = "comment"
            elif c not in " \t\r\n\u3000\ufeff":
                state, buffer = "name", c
        elif state == "comment":
            if c in "\r\n":
                state = "nil"
        elif state == "name":
            if is_letter:
                buffer += c
            elif c in " \t" and buffer.lower() in (*directives, "parameter", "message"):
                name, prefix = buffer.lower(), ""
                state = name if name in ("parameter", "message") else "value"
                buffer = ""
            else:
                return None
        elif state == "parameter":
            if c.isascii() and (c.isalnum() or c == "_"):
                buffer += c
            elif c in " \t":
                name, state, buffer = buffer, "value", ""
            else:
                return None
        elif state == "message":
            if is_letter:
                buffer += c
            elif c in " \t" and buffer in ("system", "user", "assistant"):
                prefix, state, buffer = f"{buffer}: ", "value", ""
            else:
                return None
        elif c in "\r\n" and (value := unquoted(buffer)) is not None:
            finish(value)
            state, buffer = "nil", ""
        else:
            buffer += c
    if state == "value":
        if (value := unquoted(buffer)) is None:
            return None
        finish(value)
    elif state in ("name", "parameter", "message"):
        return None
    return commands if any(name == "model" for name, _ in commands) else None
