"""Measure and cache the effects of stacks and single adapters on one base."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from engine.adapters.checking.untrained import is_untrained
from engine.gguf.header import read_header
from engine.llama.model import Model
from engine.protocol.values import AdapterEffect
from engine.runtime.effect.notices import effect_notices
from engine.runtime.effect.probe import EffectProbe
from engine.runtime.effect.used_tensors import usage_of
from engine.runtime.stacks.applied_stack import StackForms
from engine.stack import Adapter, AdapterStack

MAX_STACKS: Final = 256
"""Most stacks remembered: changing scales back and forth leads to the same stacks again."""


class Effects:
    """Effects of stacks and adapters on one base, as far as measured.

    Args:
        model: The base.
        forms: Holds the loaded adapters.
        probe: Measures effects.
        n_threads: CPU threads.
    """

    def __init__(
        self, model: Model, forms: StackForms, probe: EffectProbe, *, n_threads: int
    ) -> None:
        self._model = model
        self._forms = forms
        self._probe = probe
        self._n_threads = n_threads
        self._stacks: dict[str, float] = {}
        self._adapters: dict[str, AdapterEffect] = {}

    def of_stack(self, digest: str) -> float | None:
        """Return the effect of the stack with that digest in nats; None if not measured."""
        return self._stacks.get(digest)

    def of_adapter(self, sha256: str) -> AdapterEffect | None:
        """Return the effect of the adapter with that digest alone; None if not measured."""
        return self._adapters.get(sha256)

    def measure_stack(self, stack: AdapterStack) -> Iterator[None]:
        """Measure the effect of a loaded stack in short steps, unless it is known already.

        Raises:
            EngineError: The effect cannot be measured.
        """
        if stack.digest not in self._stacks:
            nats = yield from self._probe.measure(self._forms.served(stack))
            if len(self._stacks) >= MAX_STACKS:
                del self._stacks[next(iter(self._stacks))]
            self._stacks[stack.digest] = nats

    def measure_adapter(self, adapter: Adapter) -> Iterator[None]:
        """Measure the effect of one loaded adapter alone at scale 1, in short steps.

        Raises:
            EngineError: The effect cannot be measured, or the adapter's file cannot be read.
        """
        loaded = self._forms.adapter(adapter.sha256)
        nats = yield from self._probe.measure([(loaded, 1.0)])
        header = read_header(adapter.file)
        usage = usage_of(self._model, loaded, header, n_threads=self._n_threads)
        effect = AdapterEffect(
            adapter.sha256, nats, adapter.n_targets, None if usage is None else usage.n_used
        )
        notices = effect_notices(
            adapter.name,
            effect,
            unused=() if usage is None else usage.unused,
            architecture=adapter.architecture,
            is_untrained=nats == 0.0 and is_untrained(header),
        )
        self._adapters[adapter.sha256] = msgspec.structs.replace(effect, notices=notices)
