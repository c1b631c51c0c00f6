"""Ollama's models on the command line: listed, shown, chatted with and built upon."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from tests.support.command_line import Ended, run_tui
from tests.support.ollama_store import OllamaFolder
from tests.support.tiny_models import write_adapter, write_base

LIBRARY = "registry.ollama.ai/library"
PARAMS = {"num_thread": 1, "num_ctx": 256, "num_predict": 6, "temperature": 0, "stop": ["<never>"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home and, beside it, a store of Ollama with three models."""
    folder = tmp_path_factory.mktemp("ollama")
    base = write_base(folder / "base.gguf")
    adapter = write_adapter(folder / "lora.gguf", base, scale_of_weights=2.0)
    ollama = OllamaFolder(folder / "ollama")
    settings: list[tuple[str, Any]] = [
        ("system", "Answer in one line."),
        ("params", PARAMS),
        ("license", "Free to use."),
    ]
    weights = ("model", base.read_bytes())
    ollama.model(f"{LIBRARY}/tiny/latest", [weights, *settings])
    ollama.model(f"{LIBRARY}/tuned/v1", [weights, ("adapter", adapter.read_bytes()), *settings])
    ollama.model(f"{LIBRARY}/big/cloud", [], remote_host="https://ollama.com", remote_model="big")
    return folder


def tui(place: Path, *arguments: str, stdin: str = "") -> Ended:
    return run_tui(*arguments, home=place / "home", folder=place, stdin=stdin)


def answer(place: Path, name: str) -> dict[str, Any]:
    ended = tui(place, "run", name, "Hi", "--json")
    assert (ended.code, ended.err) == (0, "")
    document: dict[str, Any] = json.loads(ended.out)
    return document


def test_ollamas_models_are_listed_with_their_origin_and_what_is_wrong(place: Path) -> None:
    ended = tui(place, "list", "--json")
    assert ended.code == 0
    listed = {model["name"]: model for model in json.loads(ended.out)}
    facts = {
        name: (listed[name]["origin"], listed[name]["adapters"], listed[name]["problem"] is None)
        for name in ("tiny:latest", "tuned:v1", "big:cloud")
    }
    assert facts == {
        "tiny:latest": ("ollama", 0, True),
        "tuned:v1": ("ollama", 1, True),
        "big:cloud": ("ollama", 0, False),
    }
    assert listed["tiny:latest"]["size_bytes"] == (place / "base.gguf").stat().st_size
    warned = tui(place, "list", "big")
    assert "ollama" in warned.out
    assert "runs in Ollama's cloud and has no weights" in warned.err


def test_a_model_of_ollama_answers_with_its_adapter_and_its_store_stays_as_it_is(
    place: Path,
) -> None:
    ollama = OllamaFolder(place / "ollama")
    before = ollama.listing()
    plain, tuned = answer(place, "tiny"), answer(place, "tuned:V1")
    assert plain["response"]
    assert plain["response"] != tuned["response"]
    assert [(entry["name"], entry["scale"]) for entry in tuned["stack"]] == [("adapter", 1.0)]
    assert tuned["stats"]["context_length"] == 256
    assert ollama.listing() == before


def test_from_takes_a_model_of_ollama_with_all_it_has(place: Path) -> None:
    ended = tui(
        *(place, "create", "mine", "-f", "-"),
        stdin="FROM tuned:v1\nPARAMETER num_predict 4\nLICENSE More.\n",
    )
    assert ended.code == 0, ended.err
    assert ended.err == ("Note: stdin:1: FROM tuned:v1 is the model tuned:v1 of Ollama's store\n")
    shown = json.loads(tui(place, "show", "mine", "--json").out)
    assert shown["parameters"] == PARAMS | {"num_predict": 4, "temperature": 0.0}
    assert (shown["system"], shown["licenses"]) == (
        "Answer in one line.",
        ["Free to use.", "More."],
    )
    assert [adapter["name"] for adapter in shown["adapters"]] == ["adapter"]
    assert answer(place, "mine")["response"]


def test_an_own_model_of_the_same_name_comes_first_and_the_other_can_be_reached(
    place: Path, tmp_path: Path
) -> None:
    place = _copied(place, tmp_path)
    ended = tui(place, "create", "tiny", "-f", "-", stdin="FROM tiny\nSYSTEM Mine.\n")
    assert ended.code == 0, ended.err
    again = tui(place, "create", "again", "-f", "-", stdin="FROM tiny\n")
    full = f"{LIBRARY}/tiny:latest"
    assert again.err == (
        "Note: stdin:1: FROM tiny is the created model tiny:latest; Ollama's model of that name"
        f" is {full}\n"
    )
    assert tui(place, "show", "tiny", "--system").out == "Mine.\n"
    assert tui(place, "show", full, "--system").out == "Answer in one line.\n"
    names = [model["name"] for model in json.loads(tui(place, "list", "tiny", "--json").out)]
    assert sorted(names) == [full, "tiny:latest"]
    assert tui(place, "rm", full).code == 1
    assert tui(place, "rm", "tiny").code == 0
    assert tui(place, "show", "tiny", "--system").out == "Answer in one line.\n"


def test_cp_copies_out_of_ollamas_store_and_rm_leaves_it_alone(place: Path, tmp_path: Path) -> None:
    place = _copied(place, tmp_path)
    before = OllamaFolder(place / "ollama").listing()
    assert tui(place, "cp", "tuned:v1", "copy").code == 0
    assert tui(place, "show", "copy", "--system").out == "Answer in one line.\n"
    ended = tui(place, "rm", "tuned:v1", "copy")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "Error: tuned:v1 belongs to Ollama, whose store is never changed here: "
        "'ollama rm tuned:v1' removes it\n"
    )
    assert tui(place, "show", "copy", "--system").code == 0, "nothing is removed where one is not"
    assert OllamaFolder(place / "ollama").listing() == before


def test_a_base_that_only_ollama_can_load_is_explained(place: Path, tmp_path: Path) -> None:
    place = _copied(place, tmp_path)
    private = _private_layout(place / "private.gguf")
    ollama = OllamaFolder(place / "ollama")
    ollama.model(f"{LIBRARY}/private/latest", [("model", private.read_bytes())])
    created = tui(place, "create", "mine", "-f", "-", stdin="FROM private\n")
    assert created.code == 0, created.err
    for name in ("private", "mine"):
        ended = tui(place, "run", name, "Hi")
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        assert "this Ollama model uses an Ollama-only layout; use a GGUF from hf.co" in ended.err
    # The same file from elsewhere is just one that cannot be loaded.
    (place / "elsewhere.gguf").write_bytes(private.read_bytes() + b"\0" * 32)
    assert tui(place, "create", "other", "-f", "-", stdin="FROM ./elsewhere.gguf\n").code == 0
    ended = tui(place, "run", "other", "Hi")
    assert ended.code == 1
    assert "cannot be loaded" in ended.err
    assert "Ollama" not in ended.err


def _copied(place: Path, folder: Path) -> Path:
    """Return a second such folder, for tests that change it."""
    shutil.copytree(place / "ollama", folder / "ollama")
    return folder


def _private_layout(path: Path) -> Path:
    """Write a model as Ollama keeps some: sound, but llama.cpp misses tensors where it looks."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_uint32("llama.block_count", 1)
    writer.add_tensor("mm.language.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
