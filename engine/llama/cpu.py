"""What the engine needs to know of the CPU: how many threads to use, and one thing to avoid."""

from __future__ import annotations

import os
import platform
from collections.abc import MutableMapping
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

    From three cores up one is left to the screen; with fewer, decoding would lose too much. An
    asyncio loop that works 2 of 32 ms was then late by 2.4 ms (median) and 5.7 ms (99 %), on cores
    busy with other programs by 23 ms (99 %). A lower priority of the worker (nice 5) made that 0.4,
    5.8 and 26 ms: not enough to let it lose to every other program.
    """
    cores = physical_cores()
    return cores - 1 if cores > 2 else cores


def shorten_waits(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make threads that wait for each other give their core away after about half a millisecond.

    To be called before llama.cpp is loaded; a choice in the environment stays. llama.cpp's threads
    meet 500 times a token, and GNU OpenMP lets the early ones spin for milliseconds: where another
    program has the core of the late one, both lose their time. Measured with 2 threads on 2 cores
    (100M base, decoded tokens/s, medians): on busy cores 0.7 as OpenMP comes, 2.6 with 10,000 turns
    of the loop, 10.9 with 1,000; on free ones 77, 77 and 60. A turn takes 50 ns on x86 processors
    and hardly anything on others, which therefore keep what OpenMP chose.
    """
    is_chosen = "GOMP_SPINCOUNT" in environment or "OMP_WAIT_POLICY" in environment
    if platform.machine().lower() in ("x86_64", "amd64") and not is_chosen:
        environment["GOMP_SPINCOUNT"] = "10000"


def reports_amx(cpu_info: Path = _CPU_INFO) -> bool:
    """Return whether the processor reports AMX tiles.

    Some virtual machines report them and then fault on the first tile instruction, which kills the
    process (seen with llama.cpp's `ggml_backend_amx_mul_mat` on `ldtilecfg`).
    """
    try:
        return "amx_tile" in cpu_info.read_text()
    except OSError:
        return False
