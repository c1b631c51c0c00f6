"""Put the measured effect of a stack or of one adapter into words."""

from __future__ import annotations

import math

from engine.protocol.values import NEXT_TO_NONE_NATS, AdapterEffect

NO_EFFECT = "no effect"


def effect_text(nats: float) -> str:
    """Return an effect with two significant digits, such as `1.8 nats`, or `no effect`."""
    if nats < NEXT_TO_NONE_NATS:
        return NO_EFFECT
    rounded = float(f"{nats:.1e}")
    digits = max(0, 1 - math.floor(math.log10(rounded)))
    return f"{rounded:.{digits}f} nats"


def usage_texts(effect: AdapterEffect) -> tuple[str, ...]:
    """Return one adapter's own effect: `effect alone 1.2 nats` and `32 of 32 tensors used`."""
    text = effect_text(effect.effect_nats)
    alone = text if text == NO_EFFECT else f"effect alone {text}"
    if effect.n_used is None:
        return (alone,)
    return (alone, f"{effect.n_used} of {effect.n_tensors} tensors used")
