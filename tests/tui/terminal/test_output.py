from __future__ import annotations

import json
import os

import pytest

from tui.commands.run.answer_stream import AnswerStream
from tui.terminal.output import note, warn, write_json, write_source, write_text
from tui.text.tables import table_lines

Capture = pytest.CaptureFixture[str]


def test_columns_are_left_aligned_four_blanks_apart() -> None:
    assert table_lines([("NAME", "ID"), ("a-long-name", "1"), ("b\x1b[2J\nc", "")]) == [
        "NAME           ID",
        "a-long-name    1",
        "b[2J c",
    ]


def test_a_text_is_written_clean_and_ends_with_one_newline(capsys: Capture) -> None:
    write_text("one\x1b]0;title\x07")
    write_text("two\n")
    write_text("")
    assert capsys.readouterr().out == "one]0;title\ntwo\n"


def test_a_source_into_a_pipe_keeps_every_character(capsys: Capture) -> None:
    write_source("SYSTEM \x1b[1mbold\n")
    assert capsys.readouterr().out == "SYSTEM \x1b[1mbold\n"


def test_a_source_on_a_terminal_is_cleaned(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write_source("SYSTEM \x1b[1mbold\n")
    assert capsys.readouterr().out == "SYSTEM [1mbold\n"


def test_a_document_is_one_json_value_with_its_control_characters_escaped(capsys: Capture) -> None:
    write_json({"text": "\x1b[31m ünï"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": "\x1b[31m ünï"}
    assert "\x1b" not in out


def test_a_path_that_is_no_utf_8_stands_in_a_document_with_a_mark_for_each_wrong_byte(
    capsys: Capture,
) -> None:
    path = os.fsdecode(b"/a/bad\xff.gguf")
    write_json({"path": path, path: [{"n": 1.5, "none": None, "names": (path,)}]})
    shown = "/a/bad\ufffd.gguf"
    assert json.loads(capsys.readouterr().out) == {
        "path": shown,
        shown: [{"n": 1.5, "none": None, "names": [shown]}],
    }


def test_narration_goes_to_stderr_one_line_a_sentence(capsys: Capture) -> None:
    warn("This is\nodd\x1b.")
    note("And this too.")
    assert capsys.readouterr() == ("", "Warning: This is odd.\nNote: And this too.\n")


@pytest.mark.parametrize(
    ("pieces", "written"),
    [
        (["Hel", "lo"], "Hello\n"),
        (["Hello\n"], "Hello\n"),
        (["a\x1b", "[31mb"], "a[31mb\n"),
        (["\x1b"], ""),
        ([], ""),
    ],
)
def test_an_answer_is_written_clean_and_its_last_line_ends(
    pieces: list[str], written: str, capsys: Capture
) -> None:
    stream = AnswerStream()
    for piece in pieces:
        stream.write(piece)
    stream.end()
    assert capsys.readouterr().out == written


def test_an_answer_that_is_not_shown_writes_nothing(capsys: Capture) -> None:
    stream = AnswerStream(is_shown=False)
    stream.write("Hello")
    stream.end()
    assert capsys.readouterr().out == ""
