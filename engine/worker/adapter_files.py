"""Find, check and inspect adapters in the files of this machine, for a local worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from engine.adapters.inspection.base_norms import BaseNorms
from engine.adapters.inspection.inspect import Inspection, inspect, measured
from engine.adapters.inspection.overlap import Overlap, overlaps
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from engine.hub.pull.adapter import RemoteAdapter
from engine.hub.search.fit import Fit, fit_of
from engine.llama.cpu import physical_cores
from engine.resolve.adapter import NewAdapter, read_stack
from engine.resolve.hub_adapter import named_adapter, pulled_for_rack
from engine.resolve.watch import Watch
from engine.stack import Adapter, AdapterStack
from modelfiles.errors import names_of_stored, naming
from modelfiles.model import Model


def new_base_norms() -> BaseNorms:
    """Return the norms for the client's process, which leaves half of the cores to the worker."""
    return BaseNorms(n_threads=max(1, physical_cores() // 2))


class AdapterFiles:
    """Implements `Adapters` for a model whose base is a file of this machine.

    The base's header is read once, when it is first needed.

    Args:
        model: The model, loaded or about to be.
        norms: Norms of the base's weights from earlier calls; those read here are added.
    """

    def __init__(self, model: Model, norms: BaseNorms) -> None:
        self._model = model
        self._norms = norms

    @cached_property
    def _base(self) -> GgufHeader:
        with naming(self._model.names):
            return require_base(self._model.base)

    def check(self) -> tuple[AdapterStack, tuple[str, ...]]:
        """Return the model's stack and sentences on its adapters."""
        return read_stack(self._model)

    def find(
        self,
        named: str | RemoteAdapter,
        stack: Callable[[], AdapterStack],
        home: Path,
        watch: Watch,
    ) -> NewAdapter:
        """Return the adapter that the user named or chose on the Hub, pulled and converted."""
        with naming(self._model.names):
            if isinstance(named, str):
                return named_adapter(named, stack(), self._model.base, home, watch)
            return pulled_for_rack(named, stack, self._model.base, home, watch)

    def fit(self, remote: RemoteAdapter) -> Fit:
        """Return whether an adapter on the Hub fits the base, by the beginning of its file."""
        return fit_of(remote.repo, remote.choice, remote.revision, self._base)

    def inspect(self, adapter: Adapter, watch: Watch) -> Inspection:
        """Return what an adapter changes, with the norms of its deltas."""
        with naming(names_of_stored({adapter.file: adapter.name}) | self._model.names):
            found = inspect(adapter.file, adapter.name, self._base)
            return measured(found, is_cancelled=watch.is_cancelled)

    def compare(self, inspections: Sequence[Inspection], watch: Watch) -> tuple[Overlap, ...]:
        """Return how far every two of the inspected adapters overlap."""
        with naming(names_of_stored({found.path: found.name for found in inspections})):
            return overlaps(
                inspections, on_fraction=watch.on_progress, is_cancelled=watch.is_cancelled
            )

    def relate(self, inspection: Inspection, watch: Watch) -> Inspection:
        """Return an inspection with the norms of the base's weights."""
        with naming(names_of_stored({inspection.path: inspection.name}) | self._model.names):
            return measured(
                inspection,
                self._norms,
                on_fraction=watch.on_progress,
                is_cancelled=watch.is_cancelled,
            )
