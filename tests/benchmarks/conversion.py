"""Measure the conversion of a PEFT adapter: `tui convert` against llama.cpp's converter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf

from tests.benchmarks.measurement import Report, Unit, in_turn, middle, progress, ratio
from tests.benchmarks.models import Dimensions
from tests.benchmarks.peft_folder import PeftPair, write_pair
from tests.benchmarks.plan import Plan

LLAMA_1B = Dimensions(n_layer=16, n_embd=2048, n_head=32, n_head_kv=8, n_ff=8192, n_vocab=128_256)
SMALL = Dimensions(n_layer=2, n_embd=64, n_head=4, n_head_kv=2, n_ff=128, n_vocab=2_000)
"""For trying the program out."""
RANK = 16
N_ROUNDS = 5
OURS, THEIRS = "tui convert", "convert_lora_to_gguf.py"
FASTER = "conversion_llama_cpp_over_ours"
MEMORY = f"{FASTER}_peak"
IDENTICAL = "conversion_tensors_identical"

_ROOT = Path(__file__).parents[2]
_CHILD = Path(__file__).with_name("child.py")
_HAS_TORCH = (
    "import importlib.util as u, sys;"
    "sys.exit(not all(map(u.find_spec, ('torch', 'transformers', 'safetensors'))))"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a process from its start to its end."""

    wall_s: float
    cpu_s: float
    peak_bytes: float


async def measure(report: Report, plan: Plan) -> None:
    """Measure whole processes, started for each sample, that write the same float32 adapter."""
    progress("conversion: writing the adapter and its base")
    dimensions = SMALL if plan.is_quick else LLAMA_1B
    folder = plan.folder / f"conversion-{dimensions.n_layer}x{dimensions.n_embd}-r{RANK}"
    pair = write_pair(folder, dimensions, RANK)
    ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
    ways = {OURS: _way(_our_command(pair, ours), ours)}
    missing = what_is_missing(plan)
    if missing is None:
        ways[THEIRS] = _way(_their_command(pair, theirs, plan), theirs)
    samples = await in_turn(plan.n_rounds(N_ROUNDS), ways)
    rows = [_row(report, OURS, "conversion_ours", samples[OURS])]
    if missing is None:
        rows.append(_row(report, THEIRS, "conversion_llama_cpp", samples[THEIRS]))
        rows.append(_ratios(report, samples[THEIRS], samples[OURS]))
    size_mb = (pair.adapter / "adapter_model.safetensors").stat().st_size / 1e6
    shape = f"{dimensions.n_layer} layers x {dimensions.n_embd}, rank {RANK}"
    header = ("program", "time", "CPU", "peak memory")
    report.table(f"conversion: {shape}, {size_mb:.1f} MB of bf16 to f32", header, rows)
    if missing is not None:
        report.line(f"  {THEIRS} was not measured: {missing}")
        return
    is_identical = _tensors(ours) == _tensors(theirs)
    report.add_flag(IDENTICAL, is_identical)
    report.line(f"  tensors identical to the last bit: {'yes' if is_identical else 'no'}")


def _row(report: Report, name: str, key: str, costs: Sequence[Cost]) -> list[str]:
    return [
        name,
        report.add(key, middle([cost.wall_s for cost in costs]), Unit.SECONDS),
        report.add(f"{key}_cpu", middle([cost.cpu_s for cost in costs]), Unit.SECONDS),
        report.add(f"{key}_peak", middle([cost.peak_bytes for cost in costs]), Unit.BYTES),
    ]


def _ratios(report: Report, theirs: Sequence[Cost], ours: Sequence[Cost]) -> list[str]:
    ratios = [
        (FASTER, [cost.wall_s for cost in theirs], [cost.wall_s for cost in ours]),
        (f"{FASTER}_cpu", [cost.cpu_s for cost in theirs], [cost.cpu_s for cost in ours]),
        (MEMORY, [cost.peak_bytes for cost in theirs], [cost.peak_bytes for cost in ours]),
    ]
    return ["llama.cpp's over ours", *(report.add(key, ratio(a, b)) for key, a, b in ratios)]


def _our_command(pair: PeftPair, out: Path) -> list[str]:
    options = ["--base", str(pair.base), "--outtype", "f32", "-o", str(out)]
    return [sys.executable, "-m", "tui", "convert", str(pair.adapter), *options]


def _their_command(pair: PeftPair, out: Path, plan: Plan) -> list[str]:
    options = ["--base", str(pair.config), "--outtype", "f32", "--outfile", str(out)]
    assert plan.llama_cpp is not None  # `what_is_missing` has looked
    return [str(plan.torch_python), str(plan.llama_cpp / THEIRS), *options, str(pair.adapter)]


def what_is_missing(plan: Plan) -> str | None:
    """Return why llama.cpp's converter cannot be measured, or None."""
    if plan.llama_cpp is None:
        return "name a folder of llama.cpp's source with --llama-cpp"
    if not (plan.llama_cpp / THEIRS).is_file():
        return f"{plan.llama_cpp} has no {THEIRS}"
    if subprocess.run([plan.torch_python, "-c", _HAS_TORCH], check=False).returncode != 0:
        return f"{plan.torch_python} has no torch and transformers; name another, --torch-python"
    return None


def _way(command: Sequence[str], out: Path) -> Callable[[], Awaitable[Cost]]:
    async def run() -> Cost:
        out.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(_CHILD), *command],
            cwd=_ROOT,
            capture_output=True,
            check=True,
        )
        cost = json.loads(done.stdout)
        if cost.pop("exit_code") != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")
        return Cost(**cost)

    return run


def _tensors(path: Path) -> dict[str, tuple[list[int], bytes]]:
    return {
        str(tensor.name): (tensor.shape.tolist(), tensor.data.tobytes())
        for tensor in gguf.GGUFReader(path).tensors
    }
