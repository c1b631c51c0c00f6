"""Run every measurement and print its lines."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.benchmarks import decode, header


def main() -> None:
    """Print medians and ratios, one line each."""
    with tempfile.TemporaryDirectory() as folder:
        print(header.measure(Path(folder)), flush=True)
    for line in asyncio.run(decode.measure()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
