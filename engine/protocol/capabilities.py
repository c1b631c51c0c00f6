"""State what an engine can do, so that the chat offers nothing else."""

from __future__ import annotations

import msgspec


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Abilities of an engine; the defaults are those of a local worker, which has them all."""

    n_adapters: int | None = None
    """Most adapters in force at once, 0 for the bare base alone; None for any number."""
    can_rescale: bool = True
    """Whether adapters can be applied at other scales than 1."""
    can_change_answer: bool = True
    """Whether a stack set during an answer can apply from its next token."""
    can_prepare: bool = True
    """Whether `settle` prepares the next answer or measures anything."""
    can_inspect: bool = True
    """Whether the weights of adapters and base can be read, for `Adapters.inspect`."""
