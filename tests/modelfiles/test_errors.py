"""Errors say their subject by the name that the user knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import AdapterError, EngineError, GgufError
from modelfiles.errors import ModelfileError, naming

BLOB = Path("/store/blobs/sha256-1234")


def test_a_sentence_begins_with_the_subject() -> None:
    assert str(AdapterError("has no tensors.", BLOB)) == f"{BLOB} has no tensors."
    assert str(AdapterError("Nothing is left.")) == "Nothing is left."


def test_an_error_is_said_about_the_name_and_stays_itself() -> None:
    cause = OSError("gone")
    with pytest.raises(GgufError) as caught, naming({Path("/other"): "x", BLOB: "mine:latest"}):
        raise GgufError("is empty.", BLOB) from cause
    assert str(caught.value) == "mine:latest is empty."
    assert caught.value.__cause__ is cause
    assert caught.value.about({BLOB: "other"}) is caught.value
    assert str(caught.value) == "mine:latest is empty.", "the first name is the nearest"


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [
        ("style", "style/a.json is cut.", "style is cut."),
        ("hf.co/ann/x:", "hf.co/ann/x:a.json is cut.", "hf.co/ann/x is cut."),
        ("hf.co/ann/x:sub/", "hf.co/ann/x:sub/a.json is cut.", "hf.co/ann/x:sub is cut."),
    ],
)
def test_a_file_in_a_folder_is_named_below_it(name: str, file: str, folder: str) -> None:
    place = Path("/cache/style")
    assert str(EngineError("is cut.", place / "a.json").about({place: name})) == file
    assert str(EngineError("is cut.", str(place)).about({place: name})) == folder
    assert (
        str(EngineError("is cut.", "/cache/styles").about({place: name})) == "/cache/styles is cut."
    )


def test_a_modelfile_error_keeps_its_line() -> None:
    error = ModelfileError("(line 3): no FROM line", 3).about({BLOB: "mine"})
    assert (error.line, str(error)) == (3, "(line 3): no FROM line")
