"""Express the scales of an adapter's modules in a file that has one alpha.

llama.cpp multiplies B A by `alpha / rank`, with one alpha for the file and the rank of each pair
(`get_scale` of llama-adapter.h). PEFT's scales differ between modules with rsLoRA, `rank_pattern`
and `alpha_pattern`, so the part that one alpha cannot express is multiplied into B.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.adapters.conversion.placement.plan import PlannedPair
from engine.adapters.foreign.source import LoraModule
from engine.errors import AdapterError
from engine.stack import to_float32
from modelfiles.wording import shown


@dataclass(frozen=True, slots=True)
class Scales:
    """The alpha of a file, and the remaining factors for each pair's B."""

    alpha: float
    """Exact in float32, never 0, because llama.cpp does not divide by the rank for alpha 0."""

    def factors(self, pair: PlannedPair) -> tuple[float, ...]:
        """Return the factor of B for each member; 1 where alpha expresses the whole scale."""
        return tuple(self._factor(pair, member) for member in pair.members)

    def is_folded(self, pair: PlannedPair) -> bool:
        """Return whether B of the pair carries a part of the scale."""
        return any(factor != 1.0 for factor in self.factors(pair))

    def _factor(self, pair: PlannedPair, member: LoraModule) -> float:
        # Compare in float32, as in the file: alpha * sqrt(rank) is not exact in float32, and a
        # scale that was divided by the rank is an ulp off.
        if _own_alpha(pair, member) == self.alpha:
            return 1.0
        return member.scale * pair.rank / self.alpha


def scales_of(pairs: Sequence[PlannedPair]) -> Scales:
    """Return the alpha that gives most members the factor 1, the first of several.

    Raises `AdapterError` for a scale that is not finite in float32.
    """
    alphas = Counter(alpha for alpha in _own_alphas(pairs) if alpha != 0.0)
    # If every scale is 0, B carries it.
    return Scales(alphas.most_common(1)[0][0] if alphas else 1.0)


def _own_alphas(pairs: Sequence[PlannedPair]) -> Iterator[float]:
    for pair in pairs:
        for member in pair.members:
            yield _own_alpha(pair, member)


def _own_alpha(pair: PlannedPair, member: LoraModule) -> float:
    """Return the alpha for which the member needs no factor."""
    try:
        alpha = to_float32(member.scale * pair.rank)
    except OverflowError:
        alpha = math.inf
    if not math.isfinite(alpha):
        raise AdapterError(
            f"The scale {member.scale:g} of {shown(member.path)} is out of the range of numbers: "
            "correct lora_alpha in the adapter's configuration."
        )
    return alpha
