"""Print the process id in the form of a progress message, then wait for ever."""

from __future__ import annotations

import json
import os
import signal

if __name__ == "__main__":
    print(json.dumps({"title": str(os.getpid()), "fraction": 0.0}), flush=True)
    signal.pause()
