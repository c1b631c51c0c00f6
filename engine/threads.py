"""How many CPU threads an evaluation gets."""

from __future__ import annotations

import os
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")


def physical_cores(topology: Path = _TOPOLOGY) -> int:
    """Return the number of physical cores this process may use, at least 1.

    Two hyperthreads of a core share its arithmetic units, so a thread for each of them only adds
    waiting. Where the system does not say which share a core, every logical one counts.
    """
    try:
        usable = os.sched_getaffinity(0)
    except AttributeError:
        usable = set(range(os.cpu_count() or 1))
    siblings = set()
    for cpu in usable:
        try:
            siblings.add((topology / f"cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            return max(1, len(usable))
    return max(1, len(siblings))


def default_threads() -> int:
    """Return the number of threads used when num_thread is not set.

    From three cores up one is left to the screen; with fewer, decoding would lose too much.
    """
    cores = physical_cores()
    return cores - 1 if cores > 2 else cores
