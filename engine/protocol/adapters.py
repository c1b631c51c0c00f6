"""Define what an engine is asked about adapters for one base, loaded or about to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # A protocol needs no numpy and no client of the Hub.
    from engine.adapters.inspection.inspect import Inspection
    from engine.adapters.inspection.overlap import Overlap
    from engine.hub.pull.adapter import RemoteAdapter
    from engine.hub.search.fit import Fit
    from engine.resolve.adapter import NewAdapter
    from engine.resolve.watch import Watch
    from engine.stack import Adapter, AdapterStack


class Adapters(Protocol):
    """Finds, checks and inspects adapters for the base of one model.

    Every method may read large files or wait for the network: call it in a thread. It raises
    `EngineError` with one sentence for the user, and `Cancelled` if its `Watch` cancelled it.
    """

    def check(self) -> tuple[AdapterStack, tuple[str, ...]]:
        """Return the model's stack and sentences on its adapters: notices, and why one is left out.

        Raises `BaseError` or `GgufError` if the model's base is not a usable base model.
        """

    def find(
        self,
        named: str | RemoteAdapter,
        stack: Callable[[], AdapterStack],
        home: Path,
        watch: Watch,
    ) -> NewAdapter:
        """Return the adapter that the user named or chose on the Hub, pulled and converted.

        `stack` returns the adapters that it is to be added to, `home` is the folder of the records
        of pulled adapters and of converted ones. Also raises `StoreError`.
        """

    def fit(self, remote: RemoteAdapter) -> Fit:
        """Return whether an adapter on the Hub fits the base, judged before it is pulled."""

    def inspect(self, adapter: Adapter, watch: Watch) -> Inspection:
        """Return what an adapter changes, with the norms of its deltas."""

    def compare(self, inspections: Sequence[Inspection], watch: Watch) -> tuple[Overlap, ...]:
        """Return how far every two of the inspected adapters overlap."""

    def relate(self, inspection: Inspection, watch: Watch) -> Inspection:
        """Return an inspection with the norms of the base's weights, which may take a minute."""
