"""Check whether llama.cpp can load an adapter together with a base model.

llama.cpp raises no error for a wrong adapter: it aborts, crashes or ignores the adapter. So every
rule is checked here first, on the headers, and then the weights are scanned.
"""

from __future__ import annotations

import math
from pathlib import Path

from engine.adapters.checking.base_rules import base_rules_broken
from engine.adapters.checking.finite import not_finite_tensors
from engine.adapters.checking.own_rules import own_rules_broken
from engine.adapters.checking.rules import Broken, Rule, broken_by, require_kept, some
from engine.adapters.pairs import ALPHA
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import require_base

__all__ = ["Broken", "Rule", "check", "check_alone", "check_headers", "require_fit"]


def check(adapter: GgufHeader, base: GgufHeader) -> tuple[Broken, ...]:
    """Return every rule that `adapter` breaks on `base`; empty means that it fits.

    Reads the adapter's weights once to check that all are finite. Raises `GgufError` if the file
    can no longer be read.
    """
    own = own_rules_broken(adapter)
    if _is_no_lora(own):
        return own
    return (*own, *base_rules_broken(adapter, base), *_not_finite(adapter))


def check_alone(adapter: GgufHeader) -> tuple[Broken, ...]:
    """Return every rule that `adapter` breaks without a base; read and raise as `check`."""
    own = own_rules_broken(adapter)
    return own if _is_no_lora(own) else (*own, *_not_finite(adapter))


def check_headers(adapter: GgufHeader, base: GgufHeader) -> tuple[Broken, ...]:
    """Return the rules broken by the headers alone: `check` without its scan of the weights."""
    own = own_rules_broken(adapter)
    return own if _is_no_lora(own) else (*own, *base_rules_broken(adapter, base))


def require_fit(adapter: Path | GgufHeader, base: Path | GgufHeader) -> None:
    """Raise unless an adapter fits a base model, each given as a file or its header.

    Raises `AdapterError` with the first broken rule in one sentence, `BaseError` if the base is
    not a model, `GgufError` if a file is not GGUF.
    """
    ours = adapter if isinstance(adapter, GgufHeader) else read_header(adapter)
    theirs = base if isinstance(base, GgufHeader) else require_base(base)
    require_kept(check(ours, theirs))


def _is_no_lora(own: tuple[Broken, ...]) -> bool:
    return bool(own) and own[0].rule in (Rule.NOT_ADAPTER, Rule.NOT_LORA)


def _not_finite(adapter: GgufHeader) -> tuple[Broken, ...]:
    alpha = adapter.number(ALPHA)
    names = [ALPHA] if alpha is not None and not math.isfinite(alpha) else []
    names += not_finite_tensors(adapter)
    if not names:
        return ()
    fault = (
        f"holds NaN or infinity in {some(names)}: its training diverged or the file is damaged; "
        "use another"
    )
    return broken_by(adapter, [(Rule.NOT_FINITE, fault)])
