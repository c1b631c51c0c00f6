"""Stands in for a process that works for ever: says its number as progress is said, then waits."""

from __future__ import annotations

import json
import os
import signal

if __name__ == "__main__":
    print(json.dumps({"title": str(os.getpid()), "fraction": 0.0}), flush=True)
    signal.pause()
