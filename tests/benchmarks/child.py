"""Run a command and print what it took as JSON: `python -I -S child.py COMMAND [ARGUMENT ...]`.

It is a process of its own because the peak of a child begins with what its parent held when the
child was forked, and the measuring process holds more than what is measured.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(command: list[str]) -> None:
    """Run the command with its output discarded; what it prints on stderr stays."""
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
