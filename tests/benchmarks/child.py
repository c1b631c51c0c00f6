"""Run a command and print its cost as JSON: `python -I -S child.py COMMAND [ARGUMENT ...]`.

This is a separate process because a child's peak memory starts at the memory of its parent at the
fork, and the measuring process holds more than the measured one.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(command: list[str]) -> None:
    """Run the command; discard its stdout, and pass its stderr through."""
    silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    started_s = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=[silent])
    _, status, usage = os.wait4(process, 0)
    cost = {
        "exit_code": os.waitstatus_to_exitcode(status),
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        # macOS counts bytes, everything else kilobytes.
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main(sys.argv[1:])
