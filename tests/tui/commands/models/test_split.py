"""A split base from its Modelfile to its answer."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command_line import run_tui, write_model_files
from tests.support.split_base import write_split


def test_a_split_base_answers_as_the_whole_one_does(tmp_path: Path) -> None:
    modelfile = write_model_files(tmp_path)
    home = tmp_path / "home"
    parts = write_split(tmp_path / "base.gguf", "parts", 3)
    split = modelfile.read_text().replace("./base.gguf", f"./{parts[0].name}")
    documents = []
    for name, text in (("whole", modelfile.read_text()), ("split", split)):
        made = run_tui("create", name, "-f", "-", home=home, folder=tmp_path, stdin=text)
        assert made.code == 0, made.err
        for part in parts if name == "split" else ():
            part.unlink()
        ended = run_tui("run", name, "Hi", "--json", home=home, folder=tmp_path)
        assert (ended.code, ended.err) == (0, "")
        documents.append(json.loads(ended.out))
    assert documents[0]["response"] == documents[1]["response"] != ""
    assert [entry["name"] for entry in documents[1]["stack"]] == ["loud", "calm"]
