"""`tui create` with models and adapters of a Hugging Face Hub, through its real client."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Ended, run_tui
from tests.support.hub_child import HubChild, serving_child
from tests.support.tiny_models import write_adapter, write_base


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubChild]:
    folder = tmp_path_factory.mktemp("hub")
    base = write_base(folder / "base.gguf")
    adapters = {
        f"{name}.gguf": write_adapter(folder / f"{name}.gguf", base, seed=seed).read_bytes()
        for seed, name in enumerate(("formal", "pirate"), 1)
    }
    content = base.read_bytes()
    with serving_child(folder) as child:
        hub = child.hub
        hub.repos["user/tiny-GGUF"] = {
            "README.md": b"# Tiny",
            "tiny-Q4_K_M.gguf": content,
            "tiny-Q8_0.gguf": write_base(folder / "q8.gguf", dtype="q8_0").read_bytes(),
        }
        hub.repos["user/loras"] = adapters
        hub.repos["user/lora"] = {"pirate.gguf": adapters["pirate.gguf"]}
        hub.repos["user/weights"] = {"model.safetensors": b"x"}
        hub.gated.add("user/gated")
        hub.broken.add("user/broken")
        yield child


@pytest.fixture(autouse=True)
def _folder(child: HubChild, tmp_path: Path) -> None:
    child.folder = tmp_path


def create(text: str, child: HubChild, endpoint: str = "") -> Ended:
    """Create the model `mine` in a home of its own."""
    return child.tui("create", "mine", "-f", "-", stdin=text, endpoint=endpoint)


def create_offline(text: str, child: HubChild) -> Ended:
    place = child.folder
    return run_tui(
        *("create", "mine", "-f", "-"),
        home=place / "home",
        folder=place,
        stdin=text,
        environ={**child.hub.environment(place / "cache"), "HF_HUB_OFFLINE": "1"},
    )


def shown(child: HubChild) -> dict[str, Any]:
    ended = child.tui("show", "mine", "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def test_a_base_and_an_adapter_are_downloaded_through_the_hubs_cache(
    child: HubChild, tmp_path: Path
) -> None:
    text = "FROM hf.co/user/tiny-GGUF\nADAPTER hf.co/user/lora scale=0.5\n"
    ended = create(text, child)
    assert ended.code == 0, ended.err
    assert ended.err == (
        "Note: stdin:1: FROM hf.co/user/tiny-GGUF is tiny-Q4_K_M.gguf of the Hugging Face Hub\n"
    )
    document = shown(child)
    assert document["base"]["quantization"] == "F32"
    assert [adapter["scale"] for adapter in document["adapters"]] == [0.5]
    cached = list((tmp_path / "cache").rglob("*.gguf"))
    assert sorted(path.name for path in cached) == ["pirate.gguf", "tiny-Q4_K_M.gguf"]
    # A second time nothing is downloaded, and without a network the cache is enough.
    before = len(child.hub.requests)
    offline = create_offline(text.replace("\n", ":Q4_K_M\n", 1), child)
    assert offline.code == 0, offline.err
    assert len(child.hub.requests) == before


def test_a_quantisation_is_matched_whatever_its_case_and_adapters_by_file(child: HubChild) -> None:
    text = (
        "FROM https://huggingface.co/user/tiny-GGUF:q8_0\nADAPTER hf.co/user/loras:formal.gguf 2\n"
    )
    ended = create(text, child)
    assert ended.code == 0, ended.err
    document = shown(child)
    assert document["base"]["quantization"] == "Q8_0"
    assert [adapter["name"] for adapter in document["adapters"]] == ["formal"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (
            "FROM hf.co/user/gated",
            1,
            "hf.co/user/gated is gated: accept its conditions at https://",
        ),
        ("FROM hf.co/user/nothing", 1, "hf.co/user/nothing does not exist or is private: check"),
        ("FROM hf.co/user/weights", 1, "hf.co/user/weights has no GGUF file"),
        ("FROM hf.co/user/broken", 1, "The Hugging Face Hub answered 500 for hf.co/user/broken"),
        ("FROM hf.co/user/tiny-GGUF:Q2_K", 1, 'has no "Q2_K"'),
        ("FROM hf.co/user", 1, '"user" is no repository of the Hugging Face Hub'),
        (
            "FROM hf.co/user/tiny-GGUF\nADAPTER hf.co/user/loras",
            2,
            "holds 2 adapters: name one behind a colon, formal.gguf, pirate.gguf.",
        ),
    ],
)
def test_what_cannot_be_downloaded_is_one_sentence(
    text: str, line: int, reason: str, child: HubChild
) -> None:
    ended = create(text, child)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"Error: stdin:{line}: ")
    assert ended.err.count("\n") == 1
    assert reason in ended.err


def test_without_a_network_the_reason_is_said(child: HubChild) -> None:
    text = "FROM hf.co/user/tiny-GGUF\n"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    gone = create(text, child, f"http://127.0.0.1:{port}")
    assert gone.code == 1
    assert "the Hugging Face Hub cannot be reached: check the network" in gone.err
    offline = create_offline(text, child)
    assert "HF_HUB_OFFLINE forbids to download it" in offline.err
    assert [ended.err.count("\n") for ended in (gone, offline)] == [1, 1]
