"""Small random models that every test of the engine shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.adapters.read import read_adapter
from engine.protocol.values import BaseReference, LoadSpec
from engine.runtime.runtime import Runtime
from engine.stack import Adapter
from modelfiles.parameters import Parameters
from tests.support.tiny_models import write_adapter, write_base


@dataclass(frozen=True, slots=True)
class Tiny:
    """A base with two adapters that fit it."""

    base: Path
    first: Adapter
    second: Adapter

    def spec(self, **parameters: object) -> LoadSpec:
        """Return how to load the base, with one thread."""
        values = {"num_thread": 1, "num_ctx": 512, **parameters}
        return LoadSpec(BaseReference(str(self.base)), Parameters(**values))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    base = write_base(folder / "base.gguf", n_ctx_train=32768)
    first = write_adapter(folder / "first.gguf", base, rank=4, seed=1)
    second = write_adapter(folder / "second.gguf", base, rank=8, seed=2)
    return Tiny(base, read_adapter(first), read_adapter(second))


@pytest.fixture
def runtime(tiny: Tiny) -> Iterator[Runtime]:
    with Runtime(tiny.spec()) as runtime:
        yield runtime
