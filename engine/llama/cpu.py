"""Choose thread counts and OpenMP waits for the CPU, and detect AMX."""

from __future__ import annotations

import os
import platform
from collections.abc import MutableMapping
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")
_CPU_INFO = Path("/proc/cpuinfo")


def physical_cores(topology: Path = _TOPOLOGY) -> int:
    """Return the number of physical cores this process may use, at least 1.

    Two hyperthreads of a core share its arithmetic units, so a thread for each only adds waiting.
    If the system does not report which CPUs share a core, every logical CPU counts.
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

    From three cores up, one is left to the user interface; with fewer, decoding would lose too
    much. With the core left free, an asyncio loop that works 2 of 32 ms was late by 2.4 ms (median)
    and 5.7 ms (99 %), and by 23 ms (99 %) on cores busy with other programs. With a lower priority
    of the worker (nice 5) that was 0.4, 5.8 and 26 ms: too small a gain to let the worker lose to
    every other program.
    """
    cores = physical_cores()
    return cores - 1 if cores > 2 else cores


def shorten_waits(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make waiting OpenMP threads yield their core after about half a millisecond of spinning.

    Call it before llama.cpp is loaded; values already in the environment are kept. llama.cpp's
    threads synchronise 500 times per token, and GNU OpenMP lets early ones spin for milliseconds:
    if another program runs on the late one's core, that time is lost. Measured with 2 threads on 2
    cores (100M base, decoded tokens/s, medians): on busy cores 0.7 with OpenMP's default, 2.6 with
    10,000 spins, 10.9 with 1,000; on idle cores 77, 77 and 60. A spin takes 50 ns on x86 and almost
    nothing on other processors, which therefore keep OpenMP's default.
    """
    is_chosen = "GOMP_SPINCOUNT" in environment or "OMP_WAIT_POLICY" in environment
    if platform.machine().lower() in ("x86_64", "amd64") and not is_chosen:
        environment["GOMP_SPINCOUNT"] = "10000"


def reports_amx(cpu_info: Path = _CPU_INFO) -> bool:
    """Return whether the processor reports AMX tiles.

    Some virtual machines report them but fault on the first tile instruction, which kills the
    process (seen with llama.cpp's `ggml_backend_amx_mul_mat` on `ldtilecfg`).
    """
    try:
        return "amx_tile" in cpu_info.read_text()
    except OSError:
        return False
