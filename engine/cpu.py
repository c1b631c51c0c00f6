"""What the engine needs to know of the CPU: how many threads to use, and one thing to avoid."""

from __future__ import annotations

import os
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")
_CPU_INFO = Path("/proc/cpuinfo")


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


def reports_amx(cpu_info: Path = _CPU_INFO) -> bool:
    """Return whether the processor reports AMX tiles.

    Some virtual machines report them and then fault on the first tile instruction, which kills the
    process (seen with llama.cpp's `ggml_backend_amx_mul_mat` on `ldtilecfg`).
    """
    try:
        return "amx_tile" in cpu_info.read_text()
    except OSError:
        return False
