"""The packaged demo, loaded through llama.cpp by the recipe's greedy reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelfiles.demo import ADAPTERS, BASE
from tests.demo_recipe.greedy import GreedyModel


@contextmanager
def shipped_demo() -> Iterator[GreedyModel]:
    """Yield the shipped base with its four adapters loaded and none applied, on one thread."""
    with GreedyModel(BASE, ADAPTERS) as model:
        yield model
