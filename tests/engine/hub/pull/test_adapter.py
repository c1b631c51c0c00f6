"""Pulling from a Hub on the loopback, through its real client, in fair weather and in bad."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.adapters.conversion.converted_files import converted
from engine.adapters.pairs import pairs_of
from engine.gguf.header import read_header
from tests.support.fake_hub import COMMIT, TOKEN, FakeHub, Weather
from tests.support.hub_child import HubChild
from tests.support.peft_folders import pair, torch_bytes, write_peft

LORA = "hf.co/ann/pirate-lora"


@pytest.fixture
def hub(child: HubChild, adapter: bytes, tmp_path: Path) -> FakeHub:
    child.folder = tmp_path
    child.hub.clear()
    child.hub.repos["ann/pirate-lora"] = {"lora.gguf": adapter, "README.md": b"# Pirate"}
    return child.hub


def pull(child: HubChild, reference: str = LORA, **given: Any) -> dict[str, Any]:
    told: dict[str, Any] = child.ask("pull", reference=reference, **given)
    return told


def litter(folder: Path) -> list[str]:
    """Return what lies in the Hub's cache and could be taken for a file of a repository."""
    cache = folder / "cache" / "hub"
    found = [*cache.rglob("*.incomplete"), *cache.rglob("*.gguf"), *cache.rglob("*.safetensors")]
    return [path.name for path in found]


def test_an_adapter_lies_in_the_hubs_cache_under_a_name(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path
) -> None:
    told = pull(child)
    assert (told["name"], told["kind"], told["rev"]) == ("pirate-lora", "gguf", COMMIT)
    assert Path(told["path"]).read_bytes() == adapter
    assert str(tmp_path / "cache") in told["path"]
    assert told["steps"][0] == [0, len(adapter)]
    assert told["steps"][-1] == [len(adapter), len(adapter)]


def test_every_mebibyte_is_told(child: HubChild, hub: FakeHub, adapter: bytes) -> None:
    hub.repos["ann/pirate-lora"] = {"lora.gguf": adapter.ljust(3 * 2**20, b"\0")}
    told = [done for done, _ in pull(child)["steps"]]
    assert max(later - now for now, later in pairwise(told)) <= 2**20


def test_pulling_again_asks_only_which_revision_it_is(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    first = pull(child)
    hub.requests.clear()
    again = pull(child)
    assert again["path"] == first["path"]
    assert [r.partition("?")[0] for r in hub.requests if "/api/agent" not in r] == [
        "GET /api/models/ann/pirate-lora"
    ]


def test_a_folder_is_pulled_whole(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    write_peft(
        tmp_path / "p", {"model.layers.0.self_attn.q_proj": pair(64, 64, 4, 1)}, alpha=8, r=4
    )
    files = {f"sub/{path.name}": path.read_bytes() for path in (tmp_path / "p").iterdir()}
    hub.repos["ann/pirate-lora"] = {**files, "sub/optimizer.pt": b"x" * 100}
    told = pull(child)
    assert told["kind"] == "peft"
    assert {path.name for path in Path(told["path"]).iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_a_cancelled_pull_leaves_nothing(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    assert pull(child, cancel_at=1)["cancelled"]
    assert litter(tmp_path) == []
    assert not list((tmp_path / "home").rglob("*.json"))
    assert "path" in pull(child)


def test_what_breaks_for_a_moment_is_not_noticed(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path
) -> None:
    hub.weather += [
        Weather("GET /api/models/ann", 1, 429, {"Retry-After": "0"}),
        Weather("GET .*resolve", 1, 429, {"Retry-After": "0"}),
        Weather("GET .*resolve", 1, cut_after=1000),
        Weather("GET .*resolve", 1, cut_after=0),
    ]
    told = pull(child)
    assert "error" not in told, (told, hub.requests)
    assert Path(told["path"]).read_bytes() == adapter


@pytest.mark.parametrize("cut_after", [0, 1, 5_000])
def test_a_connection_that_always_breaks_leaves_nothing(
    child: HubChild, hub: FakeHub, tmp_path: Path, cut_after: int
) -> None:
    hub.weather.append(Weather("GET .*resolve", cut_after=cut_after))
    assert "ann/pirate-lora" in pull(child)["error"]
    assert litter(tmp_path) == []
    hub.weather.clear()
    assert "path" in pull(child)


def wrong(adapter: bytes, change: str) -> bytes:
    return {
        "html": b"<html>sign in</html>".ljust(len(adapter), b" "),
        "flipped": bytes([*adapter[:-1], adapter[-1] ^ 1]),
        "short": adapter[:-10],
        "long": adapter + b"more",
        "pickle": b"PK\x03\x04" + adapter[4:],
    }[change]


@pytest.mark.parametrize("change", ["html", "flipped", "short", "long", "pickle"])
def test_what_arrives_with_other_content_is_removed(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path, change: str
) -> None:
    hub.weather.append(Weather("(GET|HEAD) .*resolve", body=wrong(adapter, change)))
    told = pull(child)
    assert "hf.co/ann/pirate-lora" in told["error"]
    assert litter(tmp_path) == []
    assert not list((tmp_path / "home").rglob("*.json"))


def test_a_model_is_not_kept_as_an_adapter(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["ann/pirate-lora"] = {"model.gguf": (tmp_path / "base.gguf").read_bytes()}
    told = pull(child)
    assert "is a model, not a LoRA adapter" in told["error"]
    assert str(tmp_path) not in told["error"]
    assert litter(tmp_path) == []


def test_a_large_model_is_not_downloaded_as_an_adapter(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    data = (tmp_path / "base.gguf").read_bytes() + bytes(2**20)
    hub.repos["ann/pirate-lora"] = {"model.gguf": data}
    told = pull(child)
    assert "model.gguf is a model, not a LoRA adapter" in told["error"]
    assert [asked for asked in hub.ranges if asked] == ["bytes=0-65535"]
    assert len(hub.requests) == 2


def test_a_model_that_others_have_in_the_cache_stays_there(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    hub.repos["ann/pirate-lora"] = {"model.gguf": (tmp_path / "base.gguf").read_bytes()}
    child.ask("model", reference=LORA)
    assert "is a model, not a LoRA adapter" in pull(child)["error"]
    assert litter(tmp_path) == ["model.gguf"]


def test_what_a_killed_process_left_is_compared_too(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path
) -> None:
    path = Path(pull(child)["path"])
    path.resolve().write_bytes(wrong(adapter, "flipped"))
    next((tmp_path / "home").rglob("*.json")).unlink()
    assert "other content" in pull(child)["error"]
    assert Path(pull(child)["path"]).read_bytes() == adapter


@pytest.mark.parametrize("size", [None, -1, True, "much"])
def test_a_server_that_names_no_size_serves_as_well(
    child: HubChild, hub: FakeHub, adapter: bytes, size: Any
) -> None:
    hub.facts["ann/pirate-lora"] = {"siblings": [{"rfilename": "lora.gguf", "size": size}]}
    assert Path(pull(child)["path"]).read_bytes() == adapter


REFUSED = {
    "unknown": ("hf.co/ann/nothing", "does not exist or is private"),
    "no adapter": ("hf.co/ann/text", "holds no adapter"),
    "missing file": (f"{LORA}:other.gguf", 'no adapter "other.gguf"'),
    "several": ("hf.co/ann/many", "name one behind a colon, a.gguf, b.gguf"),
    "escaping": ("hf.co/ann/escape", "holds no adapter"),
    "private": ("hf.co/ann/private", "does not exist or is private"),
    "gated": ("hf.co/ann/gated", "accept its conditions"),
    "broken": ("hf.co/ann/broken", "answered 500"),
    "empty": ("hf.co/ann/empty", "holds no adapter"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_pulled_is_one_sentence(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path, name: str
) -> None:
    hub.repos |= {
        "ann/text": {"README.md": b"# x"},
        "ann/many": {"a.gguf": adapter, "b.gguf": adapter},
        "ann/escape": {"../lora.gguf": adapter, "a/../../b.gguf": adapter, "/c.gguf": adapter},
        "ann/private": {"lora.gguf": adapter},
        "ann/gated": {"lora.gguf": adapter},
        "ann/broken": {"lora.gguf": adapter},
        "ann/empty": {},
    }
    hub.private.add("ann/private")
    hub.gated.add("ann/gated")
    hub.broken.add("ann/broken")
    reference, words = REFUSED[name]
    error = pull(child, reference, token="hf_wrong")["error"]
    assert words in error
    assert "\n" not in error
    assert "hf_wrong" not in error


def test_the_right_token_opens_what_is_closed(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    hub.private.add("ann/pirate-lora")
    hub.gated.add("ann/pirate-lora")
    told = pull(child, token=TOKEN)
    assert "path" in told
    assert set(hub.tokens) <= {TOKEN, ""}
    assert TOKEN not in json.dumps(told)
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or TOKEN not in path.read_text()


def test_a_revision_that_goes_meanwhile_is_said(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    gone = {"X-Error-Code": "RevisionNotFound"}
    hub.weather.append(Weather("(GET|HEAD) .*resolve", status=404, headers=gone, body=b"{}"))
    assert "hf.co/ann/pirate-lora" in pull(child)["error"]


@pytest.mark.parametrize("full_at", [0, 1000])
def test_a_full_disk_leaves_nothing(
    child: HubChild, hub: FakeHub, tmp_path: Path, full_at: int
) -> None:
    told = pull(child, full_at=full_at)
    assert told["error"].startswith("hf.co/ann/pirate-lora could not be downloaded: ")
    assert "File too large" in told["error"]
    assert litter(tmp_path) == []
    assert not list((tmp_path / "home").rglob("*.json"))
    assert "path" in pull(child)


def test_what_the_disk_has_no_room_for_is_not_begun(child: HubChild, hub: FakeHub) -> None:
    hub.facts["ann/pirate-lora"] = {
        "siblings": [{"rfilename": "lora.gguf", "size": 10**18, "lfs": {"sha256": "0" * 64}}]
    }
    told = pull(child)
    assert "needs 1000000000000000000 bytes" in told["error"]
    assert not [request for request in hub.requests if "HEAD" in request]


def pickled(folder: Path, pickle: bytes | None = None) -> dict[str, bytes]:
    """Return the files of a repository whose only weights are torch's, with a pickle in it."""
    a, b = pair(64, 64, 4, 1)
    write_peft(folder, {"model.layers.0.self_attn.q_proj": (a, b)}, alpha=8, r=4, storage="bin")
    if pickle is not None:
        torch_bytes(folder / "adapter_model.bin", {}, pickle=pickle)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pickle_of_tensors_is_pulled_and_can_be_converted(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    hub.repos["ann/pirate-lora"] = pickled(tmp_path / "p")
    told = pull(child)
    assert told["kind"] == "peft"
    made = converted(Path(told["path"]), tmp_path / "base.gguf", tmp_path / "converted")
    pairs = {pair.target for pair in pairs_of(read_header(made.path))}
    assert set(pairs) == {"blk.0.attn_q.weight"}


EVIL: dict[str, bytes] = {
    "runs a command": b"cos\nsystem\n(S'true'\ntR.",
    "prints": b"cbuiltins\nprint\n(S'x'\ntR.",
}


@pytest.mark.parametrize("name", EVIL)
def test_a_pickle_that_would_run_code_is_removed_unread(
    child: HubChild, hub: FakeHub, tmp_path: Path, name: str
) -> None:
    hub.repos["ann/pirate-lora"] = pickled(tmp_path / "p", EVIL[name])
    told = pull(child)
    assert "hf.co/ann/pirate-lora" in told["error"]
    assert "\n" not in told["error"]
    assert not list((tmp_path / "home").rglob("*.json"))
    assert not list((tmp_path / "cache" / "hub").rglob("adapter_model.bin"))


def test_a_header_that_lies_is_told_after_the_download_too(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path
) -> None:
    lying = bytearray(adapter)
    lying[8:16] = (2**40).to_bytes(8, "little")  # so many tensors
    hub.repos["ann/pirate-lora"] = {"lora.gguf": bytes(lying)}
    told = pull(child)
    assert "hf.co/ann/pirate-lora" in told["error"]
    assert litter(tmp_path) == []


def test_a_connection_that_breaks_once_anywhere_is_taken_up_again(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path
) -> None:
    places = np.random.default_rng(0).integers(0, len(adapter), 12)
    for number, cut_after in enumerate((*places, len(adapter) - 1)):
        child.folder = tmp_path / str(number)
        child.folder.mkdir()
        hub.weather[:] = [Weather("GET .*resolve", 1, cut_after=int(cut_after))]
        assert Path(pull(child)["path"]).read_bytes() == adapter


def test_a_token_that_is_refused_is_told_from_a_name_that_is_wrong(
    child: HubChild, hub: FakeHub
) -> None:
    refusal = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.weather.append(Weather("/api/models", status=401, headers=refusal))
    told = pull(child)["error"]
    assert told == (
        f"The Hugging Face Hub refuses the token for {LORA}: run 'hf auth login' again, or unset "
        "HF_TOKEN."
    )


def test_a_token_that_can_be_none_is_said(child: HubChild, hub: FakeHub) -> None:
    told = child.ask("pull", reference=LORA, token="hf_geh\u00e9im")["error"]
    assert "holds characters that no token has" in told
    assert "geh" not in told


NO_DESCRIPTIONS = {
    "html": b"<html>sign in</html>",
    "deep": b"[" * 200_000,
    "escaping commit": b'{"sha": "../../etc", "siblings": []}',
    "commit as text": b'{"sha": "main", "siblings": []}',
}


@pytest.mark.parametrize("name", NO_DESCRIPTIONS)
def test_an_answer_that_describes_no_repository_is_said(
    child: HubChild, hub: FakeHub, name: str
) -> None:
    hub.weather.append(Weather("/api/models", body=NO_DESCRIPTIONS[name]))
    assert "no description of a repository" in pull(child)["error"]


def test_a_folder_that_is_unsound_is_said_without_the_caches_path(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    folder = write_peft(tmp_path / "peft", {"q_proj": pair(64, 64, 4, 1)}, alpha=8, r=4)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repos["ann/pirate-lora"] = files | {"adapter_config.json": b"not JSON"}
    told = pull(child)["error"]
    assert told.startswith(f"{LORA}/adapter_config.json cannot be understood")
    assert litter(tmp_path) == []
