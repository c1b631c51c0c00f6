"""A child process that pauses half-way through a merge, for tests that kill it.

`python -m tests.support.merge_child BASE ADAPTER OUT`: prints "merging" when half is done,
continues when it reads a line, and prints "done" at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine.adapters.merging.merge import merge
from tests.support.merging import parts_of


def main(base: Path, adapter: Path, out: Path) -> None:
    """Merge `adapter` at scale 1."""
    is_held = False

    def hold(title: str, fraction: float) -> None:
        nonlocal is_held
        if fraction > 0.75 and not is_held:
            is_held = True
            print("merging", flush=True)
            sys.stdin.readline()

    merge(base, parts_of([(adapter, 1.0)]), out, on_progress=hold)
    print("done", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
