"""Say in one sentence what the engine in use cannot do."""

from __future__ import annotations

from engine.protocol.capabilities import Capabilities
from engine.stack import AdapterStack
from tui.settings import Settings

NO_INSPECTION = "This engine cannot read the adapters' weights, so it inspects none."
_NO_ADAPTERS = "This engine runs the bare base: it applies no adapters."
_NO_SCALES = "This engine applies every adapter at scale 1.00: switch it on or off instead."
_NO_LIVE = "This engine changes the stack between answers only."
_NO_PREPARING = "This engine prepares nothing in the background."


def why_not_added(able: Capabilities, stack: AdapterStack) -> str:
    """Return why no adapter can be added to a stack; empty if one can."""
    return _too_many(able, len(stack.active) + 1)


def why_not_mixed(able: Capabilities, before: AdapterStack, after: AdapterStack) -> str:
    """Return why the engine cannot go from one stack to another; empty if it can.

    A stack that already exceeds what the engine can do may be made smaller.
    """
    if len(after.active) > len(before.active) and (why := _too_many(able, len(after.active))):
        return why
    kept = {(entry.adapter.name, entry.scale) for entry in before}
    odd = [e for e in after.active if e.scale != 1 and (e.adapter.name, e.scale) not in kept]
    return _NO_SCALES if odd and not able.can_rescale else ""


def why_not_set(able: Capabilities, before: Settings, after: Settings) -> str:
    """Return why the engine cannot use changed settings; empty if it can."""
    if after.live and not before.live and not able.can_change_answer:
        return _NO_LIVE
    if after.prepare and not before.prepare and not able.can_prepare:
        return _NO_PREPARING
    return ""


def _too_many(able: Capabilities, n_active: int) -> str:
    n_most = able.n_adapters
    if n_most is None or n_active <= n_most:
        return ""
    if n_most == 0:
        return _NO_ADAPTERS
    many = "one adapter" if n_most == 1 else f"{n_most} adapters"
    return f"This engine applies {many} at a time: switch another off first."
