"""Make the bundled demo: ``python -m tests.demo_recipe --out DIR``.

The stages run in order, or alone with ``--stage``; each reads the output of earlier stages in
DIR. Training takes about 35 minutes on two idle cores, measuring two. Afterwards DIR holds
``base.gguf``, one GGUF per adapter, ``REPORT.md``, ``report.json`` and ``demo_tokens.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelfiles.demo import ADAPTER_NAMES

SMOKE_BASE_STEPS = 60
SMOKE_ADAPTER_STEPS = 10
# An untrained model never ends its answers.
SMOKE_MAX_TOKENS = 4
# The trained weights depend on the order of sums, so the number of threads is fixed.
_THREADS = 2


def _tokenizer(out: Path, _smoke: bool) -> None:
    from tests.demo_recipe.token_cases import write_token_cases
    from tests.demo_recipe.tokenizer import train_tokenizer

    train_tokenizer(out / "tokenizer")
    write_token_cases(out / "tokenizer", out / "demo_tokens.json")


def _base(out: Path, smoke: bool) -> None:
    import torch

    from tests.demo_recipe.base import STEPS, train_base

    torch.set_num_threads(_THREADS)
    train_base(out / "tokenizer", out / "short", SMOKE_BASE_STEPS if smoke else STEPS)


def _lengthen(out: Path, smoke: bool) -> None:
    import torch

    from tests.demo_recipe.base import LONG_STEPS, lengthen_base

    torch.set_num_threads(_THREADS)
    steps = SMOKE_ADAPTER_STEPS if smoke else LONG_STEPS
    lengthen_base(out / "tokenizer", out / "short", out / "base", steps)


def _adapter(name: str) -> Callable[[Path, bool], None]:
    def train(out: Path, smoke: bool) -> None:
        import torch

        from tests.demo_recipe.adapters import train_adapter

        torch.set_num_threads(_THREADS)
        steps = SMOKE_ADAPTER_STEPS if smoke else None
        train_adapter(name, out / "tokenizer", out / "base", out / name, steps)

    return train


def _convert(out: Path, _smoke: bool) -> None:
    from tests.demo_recipe.to_gguf import write_adapter, write_base

    write_base(out / "base", out / "tokenizer", out / "base.gguf")
    for name in ADAPTER_NAMES:
        write_adapter(name, out / name, out / "base", out / f"{name}.gguf")


def _training_numbers(out: Path) -> dict[str, Any]:
    def read(folder: Path) -> dict[str, Any]:
        numbers: dict[str, Any] = json.loads((folder / "training.json").read_text("utf-8"))
        return numbers

    adapters = {name: read(out / name) for name in ADAPTER_NAMES}
    return {"base": read(out / "base"), "adapters": adapters}


def _measure(out: Path, smoke: bool) -> None:
    from tests.demo_recipe.greedy import MAX_TOKENS
    from tests.demo_recipe.measure import measure

    max_tokens = SMOKE_MAX_TOKENS if smoke else MAX_TOKENS
    report = measure(out, _training_numbers(out), max_tokens)
    held_out = report["held_out"]
    print(f"held-out questions: {held_out['right']} of {held_out['questions']}", file=sys.stderr)


STAGES: dict[str, Callable[[Path, bool], None]] = {
    "tokenizer": _tokenizer,
    "base": _base,
    "lengthen": _lengthen,
    **{name: _adapter(name) for name in ADAPTER_NAMES},
    "convert": _convert,
    "measure": _measure,
}


def main() -> None:
    """Run the chosen stages."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo_recipe", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything made")
    parser.add_argument(
        "--stage", action="append", choices=STAGES, help="run only this stage (repeatable)"
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.stage or STAGES:
        print(f"stage {name}", file=sys.stderr, flush=True)
        STAGES[name](options.out, options.smoke)


if __name__ == "__main__":
    main()
