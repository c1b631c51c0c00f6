"""A chat on a model whose base is known on a Hub on the loopback, which has adapters for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.model import Model
from tests.support.fake_hub import FakeHub
from tests.support.hub_screens import loopback, model_on
from tests.support.scripted_engine import ScriptedEngine


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with loopback(tmp_path, monkeypatch) as hub:
        yield hub


@pytest.fixture
def model(hub: FakeHub, tmp_path: Path) -> Model:
    return model_on(hub, tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine([["Yes", " indeed."]])
