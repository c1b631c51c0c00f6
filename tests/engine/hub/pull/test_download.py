"""Downloads from a Hugging Face Hub on the loopback, through its real client in a child process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_python
from tests.support.fake_hub import FakeHub, serving

PROGRAM = """
import json, sys
from engine.errors import HubError
from engine.hub.pull.download import download
from modelfiles.references.hub import HubReference
told = []
try:
    reference = HubReference.parse(sys.argv[1], "model")
    path = str(download(reference, lambda *stage: told.append(stage)))
except HubError as error:
    path = f"refused: {error}"
print(json.dumps([path, told]))
"""
PARTS = {f"big-Q4_K_M-{n:05d}-of-00003.gguf": bytes([n]) * n * 1000 for n in (1, 2, 3)}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as hub:
        hub.repos["user/big"] = {**PARTS, "mmproj-big.gguf": b"x", "README.md": b"# Big"}
        yield hub


def download(
    text: str, hub: FakeHub, folder: Path, **environ: str
) -> tuple[Path, list[tuple[str, int, int]]]:
    given = {**hub.environment(folder / "cache"), **environ}
    ended = run_python("-c", PROGRAM, text, home=folder, folder=folder, environ=given)
    assert ended.code == 0, ended.err
    answer: list[Any] = json.loads(ended.out)
    return Path(answer[0]), answer[1]


def test_all_parts_of_a_split_model_are_brought_side_by_side(hub: FakeHub, tmp_path: Path) -> None:
    path, told = download("hf.co/user/big", hub, tmp_path)
    assert path.name == "big-Q4_K_M-00001-of-00003.gguf"
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == PARTS
    titles, done, totals = zip(*told, strict=True)
    assert set(titles) == {"downloading hf.co/user/big"}
    assert set(totals) == {6000}
    assert list(done) == sorted(done)
    assert (done[0], done[-1]) == (0, 6000)


def test_what_is_in_the_cache_is_not_downloaded_again(hub: FakeHub, tmp_path: Path) -> None:
    first, _ = download("hf.co/user/big", hub, tmp_path)
    before = len(hub.requests)
    again, _ = download("hf.co/user/big:q4_k_m", hub, tmp_path)
    assert again == first
    assert not [request for request in hub.requests[before:] if "/resolve/" in request]
    hub.broken.add("user/big")
    assert download("hf.co/user/big", hub, tmp_path)[0] == first
    offline, _ = download("hf.co/user/big", hub, tmp_path, HF_HUB_OFFLINE="1")
    assert offline == first


def test_a_part_that_goes_missing_meanwhile_is_said(hub: FakeHub, tmp_path: Path) -> None:
    class Vanishing(dict[str, bytes]):
        def get(self, name: str, default: Any = None) -> Any:
            return default

    hub.repos["user/big"] = Vanishing(PARTS)
    path, _ = download("hf.co/user/big", hub, tmp_path)
    assert str(path).replace("hf.co/", "") == (
        "refused: A file of user/big has gone meanwhile: try again."
    )
