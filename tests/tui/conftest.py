"""A hub on the loopback with the process of `tui` that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hub_child import HubChild, serving_child


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubChild]:
    with serving_child(tmp_path_factory.mktemp("child")) as child:
        yield child
