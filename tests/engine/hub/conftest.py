"""A hub on the loopback with the process that speaks to it, and an adapter to serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tiny_models
from tests.support.hub_child import HubChild, serving_child


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubChild]:
    with serving_child(tmp_path_factory.mktemp("child")) as child:
        yield child


@pytest.fixture
def adapter(tmp_path: Path) -> bytes:
    base = tiny_models.write_base(tmp_path / "base.gguf")
    return tiny_models.write_adapter(tmp_path / "a.gguf", base).read_bytes()
