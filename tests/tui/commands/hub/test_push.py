"""`tui push` to a Hugging Face Hub on the loopback, through its real client."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tests.support.adapter_cases import CASES
from tests.support.command_line import TIMEOUT_S, Ended, environment, run_tui
from tests.support.fake_hub_upload import (
    COMMIT,
    READER_TOKEN,
    TOKEN,
    Repository,
    UploadHub,
    serving,
)
from tests.support.named_adapters import Shelf
from tests.support.peft_folders import write_peft
from tests.support.tiny_models import write_adapter, write_base
from tui.cli import main

CARD = "README.md"
PEFT_CARD = """\
---
base_model: ./models/mine
license: mit
tags:
- poetry
---

# Verses

Trained on *verses*.
"""


@pytest.fixture
def hub() -> Iterator[UploadHub]:
    with serving() as hub:
        yield hub


@dataclass(frozen=True, slots=True)
class Files:
    """What can be pushed, and what cannot."""

    folder: Path
    base: Path
    pirate: Path
    verses: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("push")
    base = write_base(folder / "base.gguf")
    pirate = write_adapter(folder / "pirate.gguf", base, rank=4, alpha=8)
    rng = np.random.default_rng(3)
    pair = (rng.standard_normal((2, 64)), rng.standard_normal((64, 2)))
    module = "model.layers.0.self_attn.q_proj"
    verses = write_peft(folder / "verses", {module: pair}, alpha=4, r=2)
    (verses / CARD).write_text(PEFT_CARD)
    for name in ("optimizer.pt", "training_args.bin", "adapter_model.bin", "tokenizer.json"):
        (verses / name).write_bytes(b"not for anybody")
    (verses / "checkpoint-1").mkdir()
    (verses / "checkpoint-1" / "adapter_model.safetensors").write_bytes(b"older")
    return Files(folder, base, pirate, verses)


def push(
    *arguments: str,
    files: Files,
    hub: UploadHub,
    place: Path,
    token: str | None = TOKEN,
    **more: str,
) -> Ended:
    environ = {**hub.environment(place / "cache", token), **more}
    return run_tui("push", *arguments, home=place / "home", folder=files.folder, environ=environ)


def push_on_a_terminal(
    answers: str, *arguments: str, files: Files, hub: UploadHub, place: Path
) -> tuple[Ended, str]:
    """Push with the answers typed; returns how it ended and what the terminal showed."""
    terminal, program = pty.openpty()
    try:
        os.write(terminal, answers.encode())
        ended = subprocess.run(
            [sys.executable, "-m", "tui", "push", *arguments],
            stdin=program,
            stdout=subprocess.PIPE,
            stderr=program,
            cwd=files.folder,
            env={**environment(place / "home"), **hub.environment(place / "cache")},
            timeout=TIMEOUT_S,
            check=False,
        )
        os.write(program, b"\0")
        shown = b""
        while not shown.endswith(b"\0"):
            shown += os.read(terminal, 65536)
    finally:
        os.close(terminal)
        os.close(program)
    return Ended(ended.returncode, ended.stdout.decode(), ""), shown.decode()


def test_an_adapter_arrives_as_it_is_with_a_card_that_the_hub_understands(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    ended = push(
        *("pirate.gguf", "hf.co/me/pirate-lora", "--base-model", "org/Base-1B", "--yes", "--json"),
        files=files,
        hub=hub,
        place=tmp_path,
    )
    assert (ended.code, ended.err) == (0, "")
    repository = hub.repos["me/pirate-lora"]
    assert set(repository.files) == {"pirate.gguf", CARD}
    assert repository.files["pirate.gguf"] == files.pirate.read_bytes()
    assert (repository.is_private, repository.n_commits) == (False, 1)
    document = json.loads(ended.out)
    assert document["commit"] == COMMIT
    assert document["files"][0]["size_bytes"] == files.pirate.stat().st_size
    card = ModelCard(repository.files[CARD].decode())
    assert card.data.to_dict() == {
        "base_model": "org/Base-1B",
        "base_model_relation": "adapter",
        "library_name": "gguf",
        "tags": ["lora", "gguf", "adapter"],
    }
    for line in (
        "# pirate",
        "| rank | 4 |",
        "| alpha | 8 |",
        "tui run NAME --lora hf.co/me/pirate-lora",
        "llama-cli -m base.gguf --lora pirate.gguf",
    ):
        assert line in card.text.splitlines()
    assert "attn\\_q" in card.text


def test_of_a_folder_go_the_configuration_the_weights_and_its_completed_card(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    ended = push("verses", "hf.co/me/verses", "--yes", files=files, hub=hub, place=tmp_path)
    assert ended.code == 0, ended.err
    uploaded = hub.repos["me/verses"].files
    assert set(uploaded) == {"adapter_config.json", "adapter_model.safetensors", CARD}
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert uploaded[name] == (files.verses / name).read_bytes()
    card = ModelCard(uploaded[CARD].decode())
    assert card.text == ModelCard(PEFT_CARD).text
    # What it says stays; the path of a machine is no base for the Hub.
    assert card.data.to_dict() == {
        "base_model": "example/tiny",
        "base_model_relation": "adapter",
        "license": "mit",
        "library_name": "peft",
        "tags": ["poetry", "lora", "adapter"],
    }


def test_parts_of_weights_are_pushed_whole_or_not_at_all(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    folder = shutil.copytree(CASES / "sharded", tmp_path / "parts")
    ended = push(str(folder), "hf.co/me/parts", "--yes", files=files, hub=hub, place=tmp_path)
    assert ended.code == 0, ended.err
    uploaded = hub.repos["me/parts"].files
    assert {*uploaded} - {CARD} == {path.name for path in folder.iterdir()}
    missing = "adapter_model-00002-of-00002.safetensors"
    (folder / missing).unlink()
    ended = push(str(folder), "hf.co/me/half", "--yes", files=files, hub=hub, place=tmp_path)
    assert ended.code == 1
    assert missing in ended.err
    assert "me/half" not in hub.repos


def test_an_adapter_of_a_model_is_pushed_by_its_name(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    where = {"files": files, "hub": hub, "place": tmp_path}
    ended = push("pirate", "hf.co/band/pirate", "--base", "demo", "--private", **where)
    assert ended.code == 0, ended.err
    assert set(hub.repos["band/pirate"].files) == {"pirate.gguf", CARD}
    unknown = push("pirat", "hf.co/band/pirate", "--base", "demo", **where)
    assert unknown.code == 1
    assert 'There is no adapter "pirat" (did you mean "pirate"?)' in unknown.err
    assert "in the stack (pirate, formal, shout, island)" in unknown.err


def test_what_is_private_needs_no_question_and_never_is_public(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    where = {"files": files, "hub": hub, "place": tmp_path}
    first = push("pirate.gguf", "hf.co/me/secret", "--private", **where)
    assert first.code == 0, first.err
    assert first.out == f"published privately at {hub.url}/me/secret\n"
    assert hub.repos["me/secret"].is_private
    again = push("pirate.gguf", "hf.co/me/secret", "--force", **where)
    assert again.code == 0, again.err
    assert (hub.repos["me/secret"].is_private, hub.repos["me/secret"].n_commits) == (True, 2)


def test_without_a_terminal_nothing_becomes_public_unasked(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    ended = push("pirate.gguf", "hf.co/me/pirate", files=files, hub=hub, place=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "there is no terminal to ask: add --yes to publish it, or --private." in ended.err
    assert (hub.changes, hub.repos) == ([], {})


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
def test_a_no_uploads_nothing(answer: str, hub: UploadHub, files: Files, tmp_path: Path) -> None:
    where = {"files": files, "hub": hub, "place": tmp_path}
    ended, shown = push_on_a_terminal(answer, "pirate.gguf", "hf.co/me/pirate", **where)
    assert (ended.code, ended.out) == (1, "")
    assert "Note: Nothing was uploaded." in shown
    assert (hub.changes, hub.repos) == ([], {})


def test_the_question_names_the_repository_its_files_and_that_it_is_public(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    where = {"files": files, "hub": hub, "place": tmp_path}
    ended, shown = push_on_a_terminal("y\n", "pirate.gguf", "hf.co/me/pirate", **where)
    assert (ended.code, ended.out) == (0, f"published at {hub.url}/me/pirate\n")
    assert "To a new public repository hf.co/me/pirate go, as me:" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["pirate.gguf", "34", "KB"] in rows
    assert any(row[:1] == [CARD] for row in rows)
    assert "Everybody can read a public repository. Publish? [y/N]" in shown
    assert hub.repos["me/pirate"].n_commits == 1


def test_a_card_that_is_there_is_replaced_only_when_that_is_wanted(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    where = {"files": files, "hub": hub, "place": tmp_path}
    repository = hub.repos["me/old"] = Repository(files={CARD: b"# Mine", "other.gguf": b"x"})
    kept = push("pirate.gguf", "hf.co/me/old", "--yes", **where)
    assert kept.code == 0, kept.err
    assert "The card of hf.co/me/old is kept; --force replaces it." in kept.err
    assert repository.files[CARD] == b"# Mine"
    assert repository.files["pirate.gguf"] == files.pirate.read_bytes()
    declined, _ = push_on_a_terminal("n\ny\n", "pirate.gguf", "hf.co/me/old", **where)
    assert (declined.code, repository.files[CARD]) == (0, b"# Mine")
    forced = push("pirate.gguf", "hf.co/me/old", "--yes", "--force", **where)
    assert forced.code == 0, forced.err
    # The repository has another adapter too, so its file is named.
    assert b"--lora hf.co/me/old:pirate.gguf" in repository.files[CARD]
    repository.files[CARD] = b"# Mine"
    agreed, _ = push_on_a_terminal("y\ny\n", "pirate.gguf", "hf.co/me/old", **where)
    assert agreed.code == 0
    assert repository.files[CARD] != b"# Mine"


def test_a_public_repository_cannot_be_pushed_to_privately(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    hub.repos["me/open"] = Repository()
    ended = push("pirate.gguf", "hf.co/me/open", "--private", files=files, hub=hub, place=tmp_path)
    assert ended.code == 1
    assert "hf.co/me/open is public already" in ended.err
    assert hub.changes == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["pirate.gguf", "me/x"], "write hf.co/user/repo"),
        (["pirate.gguf", "hf.co/me"], "is no repository of the Hugging Face Hub"),
        (["pirate.gguf", "hf.co/me/x:y.gguf"], "names a file"),
        (["pirate.gguf", "hf.co/me/x", "--base-model", "/mine"], "is no repository of the Hub"),
    ],
)
def test_wrong_use_is_one_sentence(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", *arguments, "--yes"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone.gguf"], 'There is no adapter "gone.gguf": it is neither a file nor pulled'),
        (["./gone.gguf"], "There is no file or folder "),
        (["~no-such-user/x"], "there is no such user's home folder as in ~no-such-user/x"),
        (["x" * 5000], 'There is no adapter "xxx'),
        (["hf.co/nobody"], "is no repository of the Hugging Face Hub"),
        (["pirate", "--base", "nobody"], "model 'nobody:latest' not found"),
    ],
)
def test_what_leads_to_no_adapter_is_one_sentence(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", *arguments, "hf.co/me/x", "--yes"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err


def test_an_adapter_is_checked_against_the_base_that_is_named(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    where = {"files": files, "hub": hub, "place": tmp_path}
    other = write_base(files.folder / "other.gguf", architecture="qwen2")
    refused = push("pirate.gguf", "hf.co/me/x", "--base", str(other), "--yes", **where)
    assert (refused.code, hub.requests) == (1, [])
    assert "qwen2" in refused.err
    ended = push("pirate.gguf", "hf.co/me/x", "--base", "base.gguf", "--yes", **where)
    assert ended.code == 0, ended.err


def test_a_pulled_adapter_is_pushed_under_its_name(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path)
    shelf.pull(files.pirate, "my-sql")
    ended = push("my-sql", "hf.co/me/sql", "--yes", files=files, hub=hub, place=tmp_path)
    assert ended.code == 0, ended.err
    assert hub.repos["me/sql"].files["my-sql.gguf"] == files.pirate.read_bytes()


def test_a_model_is_refused_before_the_hub_is_asked(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    ended = push("base.gguf", "hf.co/me/x", "--yes", files=files, hub=hub, place=tmp_path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "base.gguf is a model, not a LoRA adapter" in ended.err
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "repo", "failing", "reason"),
    [
        (None, "me/x", {}, "there is no token: run 'hf auth login', or set HF_TOKEN"),
        ("hf_" + "Wrong" * 6, "me/x", {}, "does not accept the token, it is wrong or has expired"),
        (READER_TOKEN, "me/x", {}, "The token of 'me' may only read"),
        (TOKEN, "you/x", {}, "belongs to 'you', and the token to 'me': push to hf.co/me/x"),
        (TOKEN, "me/x--y", {}, "hf.co/me/x--y cannot be the name of a repository"),
        (TOKEN, "me/x", {"POST /api/repos": 403}, "The token may not write to hf.co/me/x"),
        (TOKEN, "me/x", {"POST /api/repos": 409}, "meanwhile (told to fail, … … …): run the"),
        (TOKEN, "me/x", {"POST /api/models/me/x/commit": 403}, "The token may not write"),
        (TOKEN, "me/x", {"POST /api/models/me/x/commit": 500}, "answered 500 for hf.co/me/x"),
        (TOKEN, "me/x", {"POST /api/models/me/x/commit": 0}, "was cut off or"),
        (TOKEN, "me/x", {"PUT /lfs": 403}, "The token may not write to hf.co/me/x"),
        (TOKEN, "me/x", {"GET /api/whoami": 500}, "answered 500 for hf.co/me/x"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_without_secrets(
    token: str | None,
    repo: str,
    failing: dict[str, int],
    reason: str,
    hub: UploadHub,
    files: Files,
    tmp_path: Path,
) -> None:
    hub.failing.update(failing)
    base = ("--base-model", "org/base")
    where = {"files": files, "hub": hub, "place": tmp_path, "token": token}
    ended = push("pirate.gguf", f"hf.co/{repo}", "--yes", *base, **where)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert reason in ended.err
    for secret in (TOKEN, READER_TOKEN, "Wrong", "signature"):
        assert secret not in ended.err
    assert not any(repository.files for repository in hub.repos.values())


def test_without_a_network_the_reason_is_said(hub: UploadHub, files: Files, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    arguments = ("pirate.gguf", "hf.co/me/x", "--yes", "--base-model", "org/base")
    where = {"files": files, "hub": hub, "place": tmp_path}
    gone = push(*arguments, **where, HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert (gone.code, gone.err.count("\n")) == (1, 1)
    assert "the Hugging Face Hub cannot be reached" in gone.err
    offline = push(*arguments, **where, HF_HUB_OFFLINE="1")
    assert (offline.code, offline.err.count("\n")) == (1, 1)
    assert "HF_HUB_OFFLINE forbids to upload to hf.co/me/x: unset that variable." in offline.err


def test_a_file_that_the_repository_ignores_is_not_reported_as_published(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    hub.repos["me/x"] = Repository(ignored=(".gguf",))
    ended = push("pirate.gguf", "hf.co/me/x", "--yes", files=files, hub=hub, place=tmp_path)
    assert ended.code == 1
    assert "without 'pirate.gguf': a .gitignore of the repository excludes it" in ended.err


def test_an_interrupted_upload_commits_nothing(
    hub: UploadHub, files: Files, tmp_path: Path
) -> None:
    hub.holds_content = True
    process = subprocess.Popen(
        [sys.executable, "-m", "tui", "push", "pirate.gguf", "hf.co/me/x", "--private"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=files.folder,
        env={**environment(tmp_path / "home"), **hub.environment(tmp_path / "cache")},
    )
    assert hub.has_begun.wait(TIMEOUT_S)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (130, b"")
    assert b"Interrupted; files are visible at" in err
    assert b"Traceback" not in err
    assert hub.repos["me/x"].files == {}
