"""An upload through the Hub's client in a child process: what it reports and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Tiny
from tests.support.command_line import run_python
from tests.support.fake_hub_upload import Repository, UploadHub, serving
from tests.support.tiny_models import write_adapter

PROGRAM = """
import json, sys
from pathlib import Path
from engine.errors import HubError
from engine.hub.push.upload import destination, upload
from engine.hub.push.gguf import gguf_publication
path = Path(sys.argv[1])
told = []
try:
    publication = gguf_publication(path)
    target = destination("me/x")
    if sys.argv[2] == "changed":
        path.write_bytes(path.read_bytes()[:-4] + b"abcd")
    upload(target, publication.files, "# Card", is_private=True, message="Upload",
           on_progress=lambda *stage: told.append(stage))
    answer = "done"
except HubError as error:
    answer = str(error)
heavy = sorted({"torch", "peft", "transformers"} & set(sys.modules))
print(json.dumps([answer, told, heavy]))
"""


@pytest.fixture
def hub() -> Iterator[UploadHub]:
    with serving() as hub:
        yield hub


def upload(hub: UploadHub, path: Path, how: str, place: Path) -> list[Any]:
    environ = hub.environment(place / "cache")
    ended = run_python("-c", PROGRAM, str(path), how, home=place, folder=place, environ=environ)
    assert (ended.code, ended.err) == (0, "")
    answer: list[Any] = json.loads(ended.out)
    return answer


def test_reading_and_sending_are_reported_by_bytes(
    hub: UploadHub, tiny: Tiny, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "wide.gguf", tiny.base, rank=64)
    answer, told, heavy = upload(hub, path, "unchanged", tmp_path)
    assert (answer, heavy) == ("done", [])
    assert hub.repos["me/x"].messages == ["Upload"]
    for title in ("reading wide.gguf", "uploading to hf.co/me/x"):
        fractions = [fraction for told_title, fraction in told if told_title == title]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
    sent = {fraction for title, fraction in told if title.startswith("uploading")}
    assert any(0.0 < fraction < 1.0 for fraction in sent)


def test_a_large_file_goes_in_the_parts_that_the_hub_wants(
    hub: UploadHub, tiny: Tiny, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "wide.gguf", tiny.base, rank=16)
    hub.part_bytes = 50_000
    answer, told, _ = upload(hub, path, "unchanged", tmp_path)
    assert answer == "done"
    content = path.read_bytes()
    assert hub.repos["me/x"].files["wide.gguf"] == content
    (parts,) = hub.parts.values()
    assert [len(part) for part in parts.values()][:-1] == [50_000] * (len(content) // 50_000)
    fractions = [fraction for title, fraction in told if title.startswith("uploading")]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_file_that_changed_since_it_was_checked_is_not_uploaded(
    hub: UploadHub, tiny: Tiny, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "wide.gguf", tiny.base)
    answer, _, _ = upload(hub, path, "changed", tmp_path)
    assert "has changed since it was checked: run the command again." in answer
    assert hub.changes == []


def test_a_repository_that_came_to_be_meanwhile_is_left_alone(
    hub: UploadHub, tiny: Tiny, tmp_path: Path
) -> None:
    class Appearing(dict[str, Repository]):
        """Has the repository only once it is to be made."""

        def __contains__(self, repo: object) -> bool:
            self.setdefault("me/x", Repository(is_private=False))
            return super().__contains__(repo)

    hub.repos = Appearing()
    path = write_adapter(tmp_path / "wide.gguf", tiny.base)
    answer, _, _ = upload(hub, path, "unchanged", tmp_path)
    assert "meanwhile" in answer
    assert hub.repos["me/x"].files == {}
