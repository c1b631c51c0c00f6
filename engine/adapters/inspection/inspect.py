"""What an inspection finds out about one adapter: who it is, what it changes, whether it fits.

Adapters that break a rule are inspected, too: that is when people ask. Only a file that is no LoRA
adapter at all is refused.
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
from engine.adapters.checking.rules import Rule, some
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
"""The rule by which an adapter of another program is judged."""
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
"""Rules that can be judged only against a base."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one rule."""

    rule: str
    """A `Rule`, or `CONVERTIBLE`."""
    fault: str = ""
    """A sentence on where it is broken and what to do; empty where it holds."""

    @property
    def is_kept(self) -> bool:
        """Whether the rule holds."""
        return not self.fault


@dataclass(frozen=True, slots=True)
class Target:
    """What an adapter adds to one base tensor, by the header alone."""

    name: str
    """Name of the base tensor."""
    place: ModulePlace
    rank: int
    """By B, as llama.cpp takes it."""
    alpha: float
    """What is divided by the rank; 0 means that nothing is, and the scale is 1."""
    scale: float
    """What B A is multiplied by at an adapter scale of 1, as a rule alpha / rank."""
    n_experts: int
    n_parameters: int
    """Numbers in both halves."""
    a_type: str
    """ggml's name of the type of A, `F16`."""
    b_type: str
    size_bytes: int
    """Bytes of both halves, in the file and in memory."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One adapter, inspected; `base` and what depends on it are empty where none was given."""

    name: str
    path: Path
    """The file, or of another program's adapter the folder or file that was named."""
    format: Format
    sha256: str
    """Hex digest of the content."""
    size_bytes: int
    """Size of the file, or of all files."""
    architecture: str
    """`general.architecture`; empty where it is not said, as by other programs."""
    provenance: Provenance
    targets: tuple[Target, ...]
    base: GgufHeader | None
    verdicts: tuple[Verdict, ...]
    """One for each rule that was judged; without a base those of the adapter by itself."""
    notices: tuple[str, ...]
    """Sentences on what is odd, and yet no reason to refuse the adapter."""
    is_measurable: bool
    """Whether the deltas can be computed: no rule of the adapter by itself is broken."""
    open_factors: Callable[[], FactorReader]
    """Opens the weights; raises `GgufError` where the file changed since its header was read."""
    deltas: Mapping[str, DeltaNorm] = field(default_factory=lambda: MappingProxyType({}))
    """The size of each delta at an adapter scale of 1; empty before `measured`."""
    base_norms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Frobenius norms of the base's weights, where they could be read."""

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The rules that do not hold."""
        return tuple(verdict for verdict in self.verdicts if not verdict.is_kept)

    @property
    def fits(self) -> bool | None:
        """Whether the adapter can be used with the base; None where none was given."""
        return None if self.base is None else not self.broken

    @property
    def is_measured(self) -> bool:
        """Whether the norms of all deltas are known."""
        return bool(self.deltas) and all(isfinite(d.frobenius) for d in self.deltas.values())

    @property
    def n_parameters(self) -> int:
        """Numbers in all pairs."""
        return sum(target.n_parameters for target in self.targets)

    @property
    def memory_bytes(self) -> int:
        """Bytes of tensor data that llama.cpp holds once the adapter is loaded."""
        return sum(target.size_bytes for target in self.targets)

    @property
    def modules(self) -> tuple[str, ...]:
        """The kinds of module that are changed, in the order in which they are shown."""
        return modules_in_order(target.place.module for target in self.targets)

    def relative(self, target: str) -> float | None:
        """Return |delta| / |W| of a base tensor, None where either is unknown or W is zero."""
        delta, weight = self.deltas.get(target), self.base_norms.get(target)
        return delta.frobenius / weight if delta is not None and weight else None

    @property
    def total_norm(self) -> float:
        """Frobenius norm of all deltas together."""
        return sqrt(sum(delta.frobenius**2 for delta in self.deltas.values()))


def inspect(path: Path, name: str = "", base: GgufHeader | None = None) -> Inspection:
    """Inspect the adapter in a GGUF file; its weights are read for their hash and for NaN only.

    `name` defaults to what the file calls itself. Raises `AdapterError` where the file is no LoRA
    adapter, `GgufError` where it is no sound GGUF file or cannot be read.
    """
    header = read_header(path.absolute())
    own = own_rules_broken(header)
    if own and own[0].rule in (Rule.NOT_ADAPTER, Rule.NOT_LORA):
        raise AdapterError(own[0].message)
    pairs = pairs_of(header)
    odd = notices(header, base) if base is not None else ()
    if not own and is_untrained(header):
        odd += (f"The adapter {path} was never trained: its B factors are zero.",)
    misshapen = [pair.target for pair in pairs if not _is_regular(pair)]
    if misshapen and base is None:
        odd += (f"The halves of {some(misshapen, 'pair')} do not go together: convert it again.",)
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
    """Return the inspection with the norms of its deltas, and of the base's weights.

    The latter only with `base_norms` and where a base was given. An adapter that breaks a rule of
    its own is returned as it is, one whose weights cannot be turned into floats with a notice.
    Raises `GgufError` where a file cannot be read, `Cancelled` where `is_cancelled` said
    so.
    """
    if not inspection.is_measurable:
        return inspection
    weights: dict[str, float] = {}
    try:
        deltas = _deltas(inspection, is_cancelled)
    except AdapterError as error:
        return replace(inspection, notices=(*inspection.notices, str(error)))
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
    """Whether both halves are matrices, or stacks of equally many; embeddings are no stacks."""
    stacks = pair.a.ne[2:], pair.b.ne[2:]
    return stacks[0] == stacks[1] and (not pair.is_flipped or stacks[0] == (1, 1))


def _verdicts(header: GgufHeader, base: GgufHeader | None) -> tuple[Verdict, ...]:
    broken = check(header, base) if base is not None else check_alone(header)
    faults = {fault.rule: fault.message for fault in broken}
    return tuple(
        Verdict(rule, faults.get(rule, ""))
        for rule in Rule
        if base is not None or rule not in _OF_THE_BASE
    )
