"""Define the user's settings for speed, memory and exactness; none of them changes a model."""

from __future__ import annotations

from typing import Literal

import msgspec

FuseMode = Literal["auto", "always", "never"]
"""`auto` uses the form of the stack that was measured to decode faster; the others force one."""
SwapMode = Literal["evaluate", "keep"]
"""`evaluate`: the conversation is evaluated under the new stack (exact). `keep`: an answer reuses
the KV cache of the previous stack (approximate, and labelled so)."""


class EngineSettings(msgspec.Struct, frozen=True):
    """How the engine trades memory and exactness for time."""

    fuse: FuseMode = "auto"
    swap: SwapMode = "evaluate"
    is_live: bool = False
    """Whether a stack set during an answer applies from its next token (approximate)."""
    prepares: bool = True
    """Whether the conversation is evaluated in the background after a change of the stack."""
    kv_memory_bytes: int | None = None
    """Most memory for KV snapshots; None means a quarter of the memory free when a base is loaded,
    0 keeps none."""
    kv_disk_bytes: int = 0
    """Most disk space for KV snapshots kept between runs; 0 writes none."""
    fused_disk_bytes: int = 2 * 2**30
    """Most disk space for fused adapters; 0 keeps none after the worker ends."""
    cache_folder: str | None = None
    """Absolute path of the folder for fused adapters and KV snapshots, created when needed. None
    keeps fused adapters in a temporary folder and writes no snapshots."""
