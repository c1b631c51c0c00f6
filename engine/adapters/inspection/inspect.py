"""Inspect one adapter: its identity, its changes, and whether it fits a base model.

Adapters that break a rule are inspected too, because users inspect those most. Only files that are
not LoRA adapters are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, prod, sqrt
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from engine.adapters.checking.check import check, check_alone
from engine.adapters.checking.ignored_tensors import notices
from engine.adapters.checking.own_rules import own_rules_broken
from engine.adapters.checking.rules import Rule, require_kept, some
from engine.adapters.checking.untrained import is_untrained
from engine.adapters.inspection.base_norms import BaseNorms
from engine.adapters.inspection.delta_norm import DeltaNorm, delta_norm
from engine.adapters.inspection.factor_reader import FactorReader, GgufFactors
from engine.adapters.inspection.module_place import ModulePlace, modules_in_order, place_of
from engine.adapters.inspection.provenance import Provenance, identity_notices, read_provenance
from engine.adapters.pairs import ALPHA, Pair, pairs_of
from engine.adapters.read import adapter_name, content_sha256
from engine.errors import AdapterError, stop_if
from engine.gguf.header import GgufHeader, read_header

CONVERTIBLE: Final = "the adapter can be converted for the base"
"""The rule that a PEFT or MLX adapter is checked against."""
Format = Literal["gguf", "peft", "mlx"]
_OF_THE_BASE = (
    Rule.ARCHITECTURE,
    Rule.ABSENT,
    Rule.DIMENSION,
    Rule.EXPERTS,
    Rule.NOT_MATRIX,
    Rule.TIED_OUTPUT,
    CONVERTIBLE,
)
"""Rules that can be checked only against a base."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking one rule."""

    rule: str
    """A `Rule`, or `CONVERTIBLE`."""
    fault: str = ""
    """A sentence on where the rule is broken and how to fix it; empty if it holds."""

    @property
    def is_kept(self) -> bool:
        """Whether the rule holds."""
        return not self.fault


@dataclass(frozen=True, slots=True)
class Target:
    """The header data of an adapter's pair for one base tensor."""

    name: str
    """Name of the base tensor."""
    place: ModulePlace
    rank: int
    """Rank according to B, which llama.cpp uses."""
    alpha: float
    """Alpha, which is divided by the rank; 0 means a scale of 1 without division."""
    scale: float
    """Factor of B A at an adapter scale of 1, normally alpha / rank."""
    n_experts: int
    n_parameters: int
    """Number of values in both halves."""
    a_type: str
    """Type name of A, such as `F16`."""
    b_type: str
    size_bytes: int
    """Size of both halves in bytes, in the file and in memory."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The results for one adapter; without a base, `base` and dependent fields are empty."""

    name: str
    path: Path
    """The GGUF file, or the folder or file of a PEFT or MLX adapter."""
    format: Format
    sha256: str
    """Hex SHA-256 of the content."""
    size_bytes: int
    """Size of the file, or of all files together."""
    architecture: str
    """`general.architecture`; empty if missing, as for PEFT and MLX."""
    provenance: Provenance
    targets: tuple[Target, ...]
    base: GgufHeader | None
    verdicts: tuple[Verdict, ...]
    """One verdict for each rule that was checked; without a base, rules of the adapter alone."""
    notices: tuple[str, ...]
    """Warnings that are no reason to refuse the adapter, one sentence each."""
    is_measurable: bool
    """Whether the deltas can be computed: every rule of the adapter alone holds."""
    open_factors: Callable[[], FactorReader]
    """Opens the weights; raises `GgufError` if the file changed since its header was read."""
    deltas: Mapping[str, DeltaNorm] = field(default_factory=lambda: MappingProxyType({}))
    """Norms of each delta at an adapter scale of 1; empty before `measured`."""
    base_norms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Frobenius norms of the base's weights, as far as they could be computed."""

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The verdicts on rules that do not hold."""
        return tuple(verdict for verdict in self.verdicts if not verdict.is_kept)

    @property
    def fits(self) -> bool | None:
        """Whether the adapter fits the base; None without a base."""
        return None if self.base is None else not self.broken

    @property
    def is_measured(self) -> bool:
        """Whether the norms of all deltas are known and finite."""
        return bool(self.deltas) and all(isfinite(d.frobenius) for d in self.deltas.values())

    @property
    def n_parameters(self) -> int:
        """Number of values in all pairs."""
        return sum(target.n_parameters for target in self.targets)

    @property
    def memory_bytes(self) -> int:
        """Bytes of tensor data that llama.cpp keeps for the loaded adapter."""
        return sum(target.size_bytes for target in self.targets)

    @property
    def modules(self) -> tuple[str, ...]:
        """The changed kinds of module, in display order."""
        return modules_in_order(target.place.module for target in self.targets)

    def relative(self, target: str) -> float | None:
        """Return |delta| / |W| of a base tensor, or None if either is unknown or W is zero."""
        delta, weight = self.deltas.get(target), self.base_norms.get(target)
        return delta.frobenius / weight if delta is not None and weight else None

    @property
    def total_norm(self) -> float:
        """Frobenius norm of all deltas together."""
        return sqrt(sum(delta.frobenius**2 for delta in self.deltas.values()))


def inspect(path: Path, name: str = "", base: GgufHeader | None = None) -> Inspection:
    """Inspect the adapter in a GGUF file; reads its weights for the digest and value checks only.

    `name` defaults to the name in the file. Raises `AdapterError` if the file is not a LoRA
    adapter, `GgufError` if it is not a valid GGUF file or cannot be read.
    """
    header = read_header(path.absolute())
    own = own_rules_broken(header)
    if own and own[0].rule in (Rule.NOT_ADAPTER, Rule.NOT_LORA):
        require_kept(own)
    pairs = pairs_of(header)
    odd = notices(header, base) if base is not None else ()
    if not own and is_untrained(header):
        odd += ("The adapter was never trained: its B factors are zero.",)
    misshapen = [pair.target for pair in pairs if not _is_regular(pair)]
    if misshapen and base is None:
        odd += (f"The halves of {some(misshapen, 'pair')} do not match: convert it again.",)
    if base is not None:
        odd += identity_notices(header, base)
    verdicts = _verdicts(header, base)
    is_sound = all(verdict.is_kept or verdict.rule in _OF_THE_BASE for verdict in verdicts)
    return Inspection(
        name=name or adapter_name(header.text("general.name") or "", header.path),
        path=header.path,
        format="gguf",
        sha256=content_sha256(header),
        size_bytes=header.file_size_bytes,
        architecture=header.architecture or "",
        provenance=read_provenance(header),
        targets=tuple(_target(header, pair) for pair in pairs),
        base=base,
        verdicts=verdicts,
        notices=odd,
        is_measurable=is_sound and not misshapen,
        open_factors=lambda: GgufFactors(header),
    )


def measured(
    inspection: Inspection,
    base_norms: BaseNorms | None = None,
    *,
    on_fraction: Callable[[float], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Inspection:
    """Return the inspection with the norms of its deltas and of the base's weights.

    Computes the latter only with `base_norms` and a base. Returns an adapter that is not measurable
    unchanged, and one whose weights cannot be dequantised with an added notice. Raises `GgufError`
    if a file cannot be read, `Cancelled` if `is_cancelled` returns true.
    """
    if not inspection.is_measurable:
        return inspection
    weights: dict[str, float] = {}
    try:
        deltas = _deltas(inspection, is_cancelled)
    except AdapterError as error:
        return replace(inspection, notices=(*inspection.notices, error.reason))
    if base_norms is not None and inspection.base is not None:
        weights = base_norms.of(
            inspection.base,
            [target.name for target in inspection.targets],
            on_fraction=on_fraction,
            is_cancelled=is_cancelled,
        )
    return replace(
        inspection, deltas=MappingProxyType(deltas), base_norms=MappingProxyType(weights)
    )


def _deltas(inspection: Inspection, is_cancelled: Callable[[], bool]) -> dict[str, DeltaNorm]:
    deltas = {}
    with inspection.open_factors() as factors:
        for target in factors.targets:
            stop_if(is_cancelled)
            deltas[target] = delta_norm(factors.read(target))
    return deltas


def _target(header: GgufHeader, pair: Pair) -> Target:
    alpha = header.number(ALPHA) or 0.0
    return Target(
        name=pair.target,
        place=place_of(pair.target),
        rank=pair.rank_b,
        alpha=alpha,
        scale=alpha / pair.rank_b if alpha and pair.rank_b else 1.0,
        n_experts=prod(pair.b.ne[2:]),
        n_parameters=prod(pair.a.ne) + prod(pair.b.ne),
        a_type=pair.a.type.name,
        b_type=pair.b.type.name,
        size_bytes=pair.a.size_bytes + pair.b.size_bytes,
    )


def _is_regular(pair: Pair) -> bool:
    """Return whether both halves are matrices, or, except for embeddings, equally large stacks."""
    stacks = pair.a.ne[2:], pair.b.ne[2:]
    return stacks[0] == stacks[1] and (not pair.is_flipped or stacks[0] == (1, 1))


def _verdicts(header: GgufHeader, base: GgufHeader | None) -> tuple[Verdict, ...]:
    broken = check(header, base) if base is not None else check_alone(header)
    faults = {fault.rule: f"The adapter {fault.reason}" for fault in broken}
    return tuple(
        Verdict(rule, faults.get(rule, ""))
        for rule in Rule
        if base is not None or rule not in _OF_THE_BASE
    )
