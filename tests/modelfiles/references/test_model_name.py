"""Model names: what is one, how it is shown and where its manifest lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.errors import ModelNameError
from modelfiles.references.model_name import ModelName
from tests.support.places import MODELFILE_DATA

CASES: list[dict[str, Any]] = json.loads(
    (MODELFILE_DATA / "names.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["input"][:30])
def test_every_case(case: dict[str, Any]) -> None:
    if not case["valid"]:
        with pytest.raises(ModelNameError, match=r"^invalid model name: "):
            ModelName.parse(case["input"])
        return
    name = ModelName.parse(case["input"])
    assert "/".join(name.path_parts) == case["manifest_path"]
    assert name.display == case["display"]


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a:", ":b", "..", "../a", "a/..", "a/../b", "a..b", "a:..", "hf.co/x", "a/"),
        *("/a", "a\n", "a/b\x00", "a b:c", "https://", "a//b", "x" * 81, "m:" + "t" * 81),
        "a\\..\\b",
    ],
)
def test_names_that_would_leave_the_store_or_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ModelNameError):
        ModelName.parse(text)


@given(st.text(alphabet="aB9_-./:~\\ \n", max_size=20))
def test_a_name_never_leads_out_of_its_folder_and_is_read_back_from_its_display(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except ModelNameError:
        return
    root = Path("/manifests")
    path = root.joinpath(*name.path_parts)
    assert len(path.relative_to(root).parts) == 4
    assert not any(part.startswith(".") or "/" in part for part in name.path_parts)
    assert ModelName.parse(name.display) == name


def test_names_that_differ_in_case_are_one_model() -> None:
    assert ModelName.parse("Demo").folded == ModelName.parse("demo:LATEST").folded
    assert ModelName.parse("demo:v1").folded != ModelName.parse("demo:v2").folded
