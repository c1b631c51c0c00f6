"""Read the factors of an adapter's deltas one by one, from GGUF, PEFT or MLX files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from engine.adapters.factors import Factors, Floats, read_factors
from engine.adapters.foreign.source import LoraModule, ModuleKind
from engine.adapters.pairs import pairs_of
from engine.adapters.scaled_adapter import FusePart, factor_of
from engine.disk.handle import Handle
from engine.gguf.header import GgufHeader
from engine.gguf.weights import WeightFile


class FactorReader(Handle):
    """An open adapter that reads the factors of each target at an adapter scale of 1."""

    targets: tuple[str, ...]
    """Names of the changed tensors or modules, each once, in file order."""

    @abstractmethod
    def read(self, target: str) -> Factors:
        """Read one delta's factors; raise `EngineError` if they cannot be read."""


class GgufFactors(FactorReader):
    """Factors of a GGUF adapter; raises `GgufError` if the file changed."""

    def __init__(self, header: GgufHeader) -> None:
        self._pairs = {pair.target: pair for pair in pairs_of(header)}
        self._part = FusePart(header, "", 1.0)
        self._file = WeightFile(header)
        self.targets = tuple(self._pairs)

    def read(self, target: str) -> Factors:
        """Read a pair with alpha / rank folded in; raise as `read_factors` does."""
        pair = self._pairs[target]
        return read_factors(self._file, pair, factor_of(self._part, pair))

    def _free(self) -> None:
        self._file.close()


class SourceFactors(FactorReader):
    """Factors of a PEFT or MLX adapter, by the given module names."""

    def __init__(self, modules: Sequence[tuple[str, LoraModule]]) -> None:
        self._modules = dict(modules)
        self.targets = tuple(self._modules)

    def read(self, target: str) -> Factors:
        """Read a module's pair with its scale folded in; raise `EngineError` as its tensors do."""
        module = self._modules[target]
        a, b = module.a.read(), _scaled(module.b.read(), module.scale)
        if module.kind is ModuleKind.EMBEDDING:
            a, b = b.T, a.T
        n_a, n_b = a.shape[-2:], b.shape[-2:]
        return Factors(target, a.reshape(-1, *n_a), b.reshape(-1, *n_b))

    def _free(self) -> None:
        """Do nothing, as the tensors open their files for each read."""


def _scaled(b: Floats, scale: float) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # overflow shows as a non-finite norm
        scaled: Floats = (b.astype(np.float64) * scale).astype(np.float32)
    return scaled
