"""`tui pull`: what it downloads, what it says before and after, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command_line import Ended, environment, run_tui
from tests.support.fake_hub import COMMIT, TOKEN, FakeHub, Weather, serving
from tests.support.hub_child import HubChild
from tests.support.small_hub import LORA, fill_hub


@pytest.fixture
def hub(child: HubChild, tmp_path: Path) -> FakeHub:
    child.folder = tmp_path
    fill_hub(child.hub, tmp_path)
    return child.hub


def test_an_adapter_that_fits_is_pulled_and_says_what_is_next(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    ended = child.tui("pull", LORA, "--base", "base.gguf")
    assert (ended.code, ended.err) == (0, "")
    first, file, following = ended.out.splitlines()
    size = len(hub.repos["ann/pirate-lora"]["lora.gguf"]) // 1000
    assert first == f"pulled 'pirate-lora' (GGUF, {size} KB), revision {COMMIT[:7]} of {LORA}"
    path = Path(file.removeprefix("file: "))
    assert path.read_bytes() == hub.repos["ann/pirate-lora"]["lora.gguf"]
    assert path.is_relative_to(tmp_path / "cache")
    assert following == "next: tui run NAME --lora pirate-lora"
    again = child.tui("pull", LORA)
    assert again.out.startswith("already here: 'pirate-lora' (GGUF, ")


def test_one_that_does_not_fit_is_pulled_only_when_that_is_wished(
    child: HubChild, hub: FakeHub
) -> None:
    ended = child.tui("pull", "hf.co/ann/qwen-lora", "--base", "base.gguf")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: hf.co/ann/qwen-lora does not fit ")
    assert "'qwen2'" in ended.err
    assert "--yes downloads it all the same" in ended.err
    assert child.pulled() == []
    ended = child.tui("pull", "hf.co/ann/qwen-lora", "--base", "base.gguf", "--yes", "--json")
    assert ended.code == 0
    assert "does not fit" in ended.err
    document = json.loads(ended.out)
    assert (document["type"], document["fit"]) == ("adapter", "does not fit")
    assert "'qwen2'" in document["reason"]
    assert [record["name"] for record in child.pulled()] == ["qwen-lora"]


def test_a_model_is_run_by_its_reference(child: HubChild, hub: FakeHub) -> None:
    ended = child.tui("pull", "hf.co/ann/tiny-GGUF", "--json")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert document.pop("path").startswith(str(child.folder / "home"))
    assert document == {
        "type": "model",
        "name": "hf.co/ann/tiny-GGUF:Q4_K_M",
        "size_bytes": len(hub.repos["ann/tiny-GGUF"]["tiny-Q4_K_M.gguf"]),
        "is_new": True,
        "reference": "hf.co/ann/tiny-GGUF:Q4_K_M",
        "revision": COMMIT,
    }
    assert child.tui("show", "hf.co/ann/tiny-GGUF").code == 0
    again = child.tui("pull", "hf.co/ann/tiny-GGUF")
    assert again.out.startswith("already here: 'hf.co/ann/tiny-GGUF:Q4_K_M' (model, ")
    assert again.out.endswith("next: tui run hf.co/ann/tiny-GGUF:Q4_K_M\n")
    wrong = child.tui("pull", "hf.co/ann/tiny-GGUF", "--base", "base.gguf")
    assert wrong.code == 1
    assert "is a model, and --base is for adapters" in wrong.err


def test_adapters_beside_a_model_are_named(child: HubChild, hub: FakeHub) -> None:
    hub.repos["ann/tiny-GGUF"] |= {
        f"sub/{name}": data for name, data in hub.repos["ann/peft-lora"].items()
    }
    wrong = child.tui("pull", "hf.co/ann/tiny-GGUF", "--base", "base.gguf")
    assert wrong.code == 1
    assert wrong.err.endswith("--base is for adapters: name hf.co/ann/tiny-GGUF:sub.\n")
    ended = child.tui("pull", "hf.co/ann/tiny-GGUF")
    assert ended.err == "Note: Beside the model there is hf.co/ann/tiny-GGUF:sub.\n"
    ended = child.tui("pull", "hf.co/ann/tiny-GGUF:sub", "--base", "base.gguf")
    assert ended.out.startswith("pulled 'tiny-gguf-sub' (PEFT, ")


def test_a_model_that_is_not_here_says_how_to_get_it(child: HubChild, hub: FakeHub) -> None:
    ended = child.tui("run", "hf.co/ann/tiny-GGUF", "Hello")
    assert (ended.code, ended.out) == (1, "")
    assert "'tui pull hf.co/ann/tiny-GGUF' downloads it" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("pull", "the following arguments are required: REF"),
        ("pull pirate-lora", "'pirate-lora' is no reference to the Hugging Face Hub: write hf.co/"),
        ("pull ./base.gguf", "is no reference to the Hugging Face Hub"),
        ("pull hf.co/ann", '"ann" is no repository of the Hugging Face Hub'),
        ("pull hf.co/../x", "is no repository of the Hugging Face Hub"),
        ("pull hf.co/a/b hf.co/c/d", "unrecognized arguments: hf.co/c/d"),
    ],
)
def test_wrong_use_is_one_sentence(
    child: HubChild, hub: FakeHub, arguments: str, words: str
) -> None:
    ended = child.tui(*arguments.split())
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert hub.requests == []


def test_no_screen_and_no_engine_is_loaded(child: HubChild, hub: FakeHub) -> None:
    for arguments in ("pull hf.co/ann/pirate-lora --base base.gguf", "search a", "rm pirate-lora"):
        assert child.tui(*arguments.split()).code == 0
    loaded = child.ask("loaded")
    assert "huggingface_hub" in loaded
    assert not {"textual", "llama_cpp", "torch", "rich"} & set(loaded)


def test_what_is_closed_says_where_to_open_it(child: HubChild, hub: FakeHub) -> None:
    hub.gated.add("ann/pirate-lora")
    for token in ("", "hf_wrong"):
        ended = child.tui("pull", LORA, token=token)
        assert ended.code == 1
        assert "accept its conditions at https://huggingface.co/ann/pirate-lora" in ended.err
        assert "hf auth login" in ended.err
        assert "hf_wrong" not in ended.err
    ended = child.tui("pull", LORA, "--json", token=TOKEN)
    assert ended.code == 0
    assert TOKEN not in ended.out + ended.err
    for path in (child.folder / "home").rglob("*"):
        assert not path.is_file() or TOKEN not in path.read_text()


def make_large(hub: FakeHub) -> None:
    files = hub.repos["ann/peft-lora"]
    siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
    siblings[0]["size"] = siblings[1]["size"] = 10**9
    hub.facts["ann/peft-lora"] = {"siblings": siblings}


def test_a_large_download_says_its_size(child: HubChild, hub: FakeHub) -> None:
    make_large(hub)
    ended = child.tui("pull", "hf.co/ann/peft-lora")
    assert ended.err.startswith("Note: hf.co/ann/peft-lora is 2.0 GB to download.\n")
    assert ended.code == 1  # it arrived with another size


@pytest.mark.parametrize("answer", ["n", "y"])
def test_a_person_is_asked_before_a_very_large_one(
    child: HubChild, hub: FakeHub, tmp_path: Path, answer: str
) -> None:
    make_large(hub)
    terminal, theirs = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    process = subprocess.run(
        [sys.executable, "-m", "tui", "pull", "hf.co/ann/peft-lora"],
        env={**environment(tmp_path / "home"), **hub.environment(tmp_path / "cache")},
        cwd=tmp_path,
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert (process.returncode, process.stdout) == (1, b"")
    assert "Download 2.0 GB of hf.co/ann/peft-lora? [y/N] " in shown
    assert ("Nothing was downloaded: answer y, or give --yes." in shown) == (answer == "n")
    assert any("resolve" in request for request in hub.requests) == (answer == "y")


def test_without_a_network_what_was_pulled_is_there(child: HubChild, hub: FakeHub) -> None:
    for reference in (LORA, "hf.co/ann/tiny-GGUF"):
        before = child.tui("pull", reference)
        ended = child.tui("pull", reference, endpoint="http://127.0.0.1:9")
        assert ended.code == 0
        assert ended.out.splitlines()[1:] == before.out.splitlines()[1:]
        assert ended.out.startswith("already here: ")
        assert "cannot be asked" in ended.err
    ended = child.tui("pull", "hf.co/ann/qwen-lora", endpoint="http://127.0.0.1:9")
    assert (ended.code, ended.out) == (1, "")
    assert "the Hugging Face Hub cannot be reached" in ended.err


def test_a_refusal_is_no_lack_of_a_network(child: HubChild, hub: FakeHub) -> None:
    child.tui("pull", LORA)
    hub.broken.add("ann/pirate-lora")
    assert child.tui("pull", LORA).out.startswith("already here: 'pirate-lora'")
    hub.broken.clear()
    hub.private.add("ann/pirate-lora")
    ended = child.tui("pull", LORA)
    assert (ended.code, ended.out) == (1, "")
    assert "does not exist or is private" in ended.err
    fused = child.tui("fuse", "--base", "base.gguf", "--lora", LORA, "-o", "out.gguf")
    assert fused.code == 1
    assert (
        child.tui("fuse", "--base", "base.gguf", "--lora", "pirate-lora", "-o", "o.gguf").code == 0
    )


def test_offline_what_was_pulled_is_there(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    child.tui("pull", LORA)
    environ = {**hub.environment(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    before = len(hub.requests)
    place = {"home": tmp_path / "home", "folder": tmp_path, "environ": environ}
    ended = run_tui("pull", LORA, **place)
    assert ended.code == 0
    assert ended.out.startswith("already here: 'pirate-lora'")
    ended = run_tui("pull", "hf.co/ann/qwen-lora", **place)
    assert (ended.code, ended.out) == (1, "")
    assert "HF_HUB_OFFLINE forbids to download it" in ended.err
    # A search says so too, and what is on this machine.
    ended = run_tui("search", "pirate", **place)
    assert ended.code == 1
    assert ended.out.splitlines()[1].startswith("pirate-lora    GGUF")
    assert "HF_HUB_OFFLINE forbids to search" in ended.err
    assert len(hub.requests) == before


@contextmanager
def interrupted(hub: FakeHub, folder: Path, *arguments: str) -> Iterator[Ended]:
    """Yield how a command ends that gets Ctrl+C as soon as an answer to it is held."""
    held = next(weather.held for weather in hub.weather if weather.held is not None)
    process = subprocess.Popen(
        [sys.executable, "-m", "tui", *arguments],
        env={**environment(folder / "home"), **hub.environment(folder / "cache")},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert hub.has_begun.wait(60)
        process.send_signal(signal.SIGINT)
        # Less than a request may take: nobody waits for one.
        out, err = process.communicate(timeout=10)
        yield Ended(process.returncode, out, err)
    finally:
        held.set()
        process.kill()


def test_ctrl_c_leaves_nothing_half(tmp_path: Path) -> None:
    with serving() as hub:
        fill_hub(hub, tmp_path)
        half = len(hub.repos["ann/pirate-lora"]["lora.gguf"]) // 2
        # The first request is for the header, the second for the file.
        hub.weather += [
            Weather("GET .*resolve", 1),
            Weather("GET .*resolve", cut_after=half, held=threading.Event()),
        ]
        with interrupted(hub, tmp_path, "pull", LORA) as ended:
            assert (ended.code, ended.out, ended.err) == (130, "", "")
    files = [path for path in (tmp_path / "cache" / "hub").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".lock", ".TAG"}
    assert not list((tmp_path / "home").rglob("*.json"))


def test_ctrl_c_waits_for_no_judgement(tmp_path: Path) -> None:
    with serving() as hub:
        fill_hub(hub, tmp_path)
        hub.facts["ann/pirate-lora"] = {"tags": ["lora"]}
        hub.weather.append(Weather("GET .*resolve", cut_after=10, held=threading.Event()))
        search = ("search", "pirate", "--fit", "--base", "base.gguf")
        with interrupted(hub, tmp_path, *search) as ended:
            assert (ended.code, ended.out) == (130, "")
