"""Errors about the files of a created model name the model or its adapter, never a blob."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.gguf.metadata import ValueType
from modelfiles.library import Library
from modelfiles.model import AdapterSpec, Model
from modelfiles.store.created import ModelStore
from tests.support.command_line import run_tui
from tests.support.gguf_raw import RawGguf, RawValue, text
from tests.support.session import Notes
from tests.support.tiny_models import write_adapter, write_base
from tui.chat.session.session import ChatSession
from tui.local_engine import new_engine

COMMANDS = {
    "run": "run mine hello",
    "show": "show mine",
    "template": "show mine --template",
    "inspect": "inspect mine",
    "inspect one": "inspect pirate --base mine",
    "fuse": "fuse mine -o out.gguf",
    "fuse to peft": "fuse mine -o out --format peft",
    "merge": "merge mine -o out.gguf",
    "merge into its base": "merge sound -o out.gguf --from-original base.gguf --lora pirate.gguf",
    "extract": "extract mine sound -o out.gguf --rank 2",
    "extract from": "extract base.gguf mine -o out.gguf --rank 2",
    "convert": "convert peft --base mine",
    "create": "create child -f Childfile",
    "push": "push pirate hf.co/me/x --base mine --yes",
}
BASE = ("run", "show", "template", "inspect", "fuse", "fuse to peft", "merge", "create")
ADAPTER = ("run", "show", "inspect", "inspect one", "fuse", "fuse to peft", "merge", "create")


def cut(base: Path, _: Path) -> None:
    base.write_bytes(base.read_bytes()[:-64])


def no_gguf(base: Path, _: Path) -> None:
    base.write_bytes(b"not a model" * 20)


def an_adapter(base: Path, pirate: Path) -> None:
    base.write_bytes(pirate.read_bytes())


def no_tensors(base: Path, _: Path) -> None:
    raw = RawGguf.read(base)
    raw.tensors.clear()
    raw.write(base)


def lacks_a_tensor(base: Path, _: Path) -> None:
    """llama.cpp alone notices that."""
    raw = RawGguf.read(base)
    del raw.tensors["blk.0.attn_norm.weight"]
    raw.write(base)


def cut_adapter(_: Path, pirate: Path) -> None:
    pirate.write_bytes(pirate.read_bytes()[:-64])


def of_another_architecture(_: Path, pirate: Path) -> None:
    raw = RawGguf.read(pirate)
    raw.metadata["general.architecture"] = text("gemma")
    raw.write(pirate)


def not_finite(_: Path, pirate: Path) -> None:
    raw = RawGguf.read(pirate)
    name = "blk.0.attn_q.weight.lora_b"
    shape = tuple(reversed(raw.tensors[name].shape))
    raw.replace_array(name, np.full(shape, np.nan, np.float32))
    raw.write(pirate)


def of_a_larger_model(base: Path, pirate: Path) -> None:
    other = write_base(base.with_name("larger.gguf"), n_layer=3)
    write_adapter(pirate, other)


def a_model(base: Path, pirate: Path) -> None:
    write_base(pirate, seed=5)


def with_tokens(_: Path, pirate: Path) -> None:
    """Only a notice is due: an aLoRA adapter acts from its invocation tokens on."""
    raw = RawGguf.read(pirate)
    tokens = RawValue(ValueType.ARRAY, [1, 2], ValueType.UINT32)
    raw.metadata["adapter.alora.invocation_tokens"] = tokens
    raw.write(pirate)


BASES = (cut, no_gguf, an_adapter, no_tensors, lacks_a_tensor)
ADAPTERS = (cut_adapter, of_another_architecture, not_finite, of_a_larger_model, a_model)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def store(folder: Path, home: Path, damage: Callable[[Path, Path], None]) -> Model:
    """Store the models `sound` and `mine`, of which a file is damaged, and return `mine`."""
    sound = write_base(folder / "base.gguf")
    pirate = write_adapter(folder / "pirate.gguf", sound)
    ModelStore(home).create("sound", Model("sound", sound, (AdapterSpec("calm", pirate),)))
    base, bad = folder / "bad-base.gguf", folder / "bad-pirate.gguf"
    base.write_bytes(sound.read_bytes())
    bad.write_bytes(pirate.read_bytes())
    damage(base, bad)
    ModelStore(home).create("mine", Model("mine", base, (AdapterSpec("pirate", bad, 0.5),)))
    (folder / "Childfile").write_text("FROM mine\n")
    return Library(home).get("mine")


def sentences(folder: Path, home: Path, command: str) -> str:
    """Return what a command says on both streams."""
    ended = run_tui(*COMMANDS[command].split(), home=home, folder=folder)
    # The page of `inspect` has the path as a fact.
    said = re.sub(r"(?m)^    file +/.*$", "", ended.out + ended.err)
    assert "Traceback" not in said
    assert not re.search(r"sha256-|/blobs/", said), said
    return said


@pytest.mark.parametrize("damage", BASES)
def test_a_damaged_base_is_called_by_the_model_that_was_named(
    tmp_path: Path, home: Path, damage: Callable[[Path, Path], None]
) -> None:
    store(tmp_path, home, damage)
    for command in COMMANDS:
        said = sentences(tmp_path, home, command)
        if command in BASE and damage is not lacks_a_tensor:
            assert re.search(r"(Error: |:1: )mine(:latest)? ", said), (command, said)
    if damage is lacks_a_tensor:
        assert "Error: mine:latest cannot be loaded" in sentences(tmp_path, home, "run")


@pytest.mark.parametrize("damage", ADAPTERS)
def test_a_damaged_adapter_is_called_by_its_name_in_the_model(
    tmp_path: Path, home: Path, damage: Callable[[Path, Path], None]
) -> None:
    store(tmp_path, home, damage)
    for command in COMMANDS:
        said = sentences(tmp_path, home, command)
        is_refused = command in ADAPTER and said.startswith(("Error: ", "Note: "))
        if is_refused:
            assert "pirate " in said, (command, said)
    said = sentences(tmp_path, home, "run")
    assert said.startswith("Error: pirate "), said


def test_a_notice_is_about_the_adapter_by_name(tmp_path: Path, home: Path) -> None:
    store(tmp_path, home, with_tokens)
    assert "Note: pirate: The adapter acts only after its invocation tokens" in sentences(
        tmp_path, home, "run"
    )
    assert "Note: pirate acts only after its" in sentences(tmp_path, home, "merge")


@pytest.mark.parametrize("part", ["base", "adapter"])
def test_a_file_missing_from_the_store_is_called_by_the_model(
    tmp_path: Path, home: Path, part: str
) -> None:
    model = store(tmp_path, home, with_tokens)
    path = model.base if part == "base" else model.adapters[0].path
    path.unlink()
    for command in ("run", "show", "inspect", "fuse", "merge", "extract", "create", "push"):
        if part == "base":
            # `sound` has the same base.
            assert "is damaged: the file of" in sentences(tmp_path, home, command)
        else:
            said = sentences(tmp_path, home, command)
            assert "model mine:latest is damaged: the file of" in said


@pytest.mark.parametrize("damage", [*BASES, *ADAPTERS])
async def test_the_chat_calls_files_by_the_names_of_the_model(
    tmp_path: Path, home: Path, damage: Callable[[Path, Path], None]
) -> None:
    model = store(tmp_path, home, damage)
    notes = Notes()
    engine = new_engine()
    try:
        session = ChatSession(engine, notes)
        await session.open(model)
        said = " ".join(notes.told_sentences)
        assert "sha256-" not in said
        assert ("mine:latest " if damage in BASES else "pirate ") in said
    finally:
        await engine.close()
