"""Run the benchmarks: tables on stdout, progress on stderr, all figures as JSON on request."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path

from engine.llama.cpu import default_threads
from tests.benchmarks import conversion, event_loop, goals, header, hub, memory, speed, swap
from tests.benchmarks.measurement import Report, clear_progress, note
from tests.benchmarks.plan import Plan
from tests.benchmarks.shapes import LARGE, SHAPES, SMALL

Measure = Callable[[Report, Plan], Coroutine[None, None, None]]

MEASUREMENTS: dict[str, Measure] = {
    "header": header.measure,
    "speed": speed.measure,
    "swap": swap.measure,
    "memory": memory.measure,
    "event_loop": event_loop.measure,
    "hub": hub.measure,
    "conversion": conversion.measure,
}
FOLDER = Path(__file__).parents[2] / "build" / "bench"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; a missed goal is reported but is not a failure."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.json is not None:
        # Fail now, not after ten minutes of measuring.
        try:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.open("a").close()
        except OSError as error:
            parser.error(f"{options.json} cannot be written: {error.strerror}")
    plan = Plan(
        shapes=tuple(SHAPES[key] for key in options.shape),
        folder=options.folder,
        is_quick=options.quick,
        num_thread=options.threads,
        llama_cpp=options.llama_cpp,
        torch_python=options.torch_python,
    )
    report = Report(_show)
    n_threads = plan.num_thread or default_threads()
    report.add("n_threads", n_threads)
    report.add_flag("is_quick", plan.is_quick)
    report.line(f"threads: {n_threads}, llama-cpp-python {version('llama-cpp-python')}")
    for name in options.only:
        started_s = time.monotonic()
        asyncio.run(MEASUREMENTS[name](report, plan))
        note(f"{name} took {time.monotonic() - started_s:.0f} s")
    goals.judge(report, plan.shapes)
    if options.json is not None:
        report.write_json(options.json)


def _show(line: str) -> None:
    clear_progress()
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure what an adapter stack costs, side by side in one run.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    parser.add_argument("--quick", action="store_true", help="one short round, to try it out")
    names, keys = list(MEASUREMENTS), list(SHAPES)
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--shape",
        nargs="+",
        choices=keys,
        default=[SMALL.key, LARGE.key],
        metavar="SHAPE",
        help=", ".join(keys),
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: as the engine chooses")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where the models (1 GB) are written and kept"
    )
    parser.add_argument(
        "--llama-cpp",
        type=Path,
        metavar="FOLDER",
        help="llama.cpp's source, to measure its converter of adapters beside ours",
    )
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        metavar="PYTHON",
        help="a Python with torch and transformers for it; default: this one",
    )
    return parser


if __name__ == "__main__":
    main()
