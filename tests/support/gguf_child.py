"""Load an unchecked adapter in a child process, since it may crash llama.cpp.

Run as `python -m tests.support.gguf_child BASE ADAPTER [SCALE]`: prints one JSON object with
`refusal` and `effect`, the largest change of a logit after a short prompt.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import AdapterError
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context, KvType
from engine.llama.model import Model

ROOT = Path(__file__).parents[2]
PROMPT = "<|im_start|>user\nthe other<|im_end|>\n<|im_start|>assistant\n"
_LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a child that loaded an adapter and decoded with it."""

    exit_code: int
    """Negative for a signal: -6 is an abort, -11 a segmentation fault."""
    refusal: str | None
    """The error message if loading the adapter failed."""
    effect: float
    """Largest change of a logit; NaN if there are no finite logits."""

    @property
    def has_crashed(self) -> bool:
        """Whether a signal killed the process."""
        return self.exit_code < 0

    @property
    def has_decoded(self) -> bool:
        """Whether the adapter was loaded and the logits with it are finite."""
        return self.exit_code == 0 and self.refusal is None and bool(np.isfinite(self.effect))


def load_in_child(base: Path, adapter: Path, scale: float = 1.0) -> Outcome:
    """Load and decode in a child process and return the outcome."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.gguf_child", str(base), str(adapter), str(scale)],
        cwd=ROOT,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},  # else an abort starts a debugger
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        return Outcome(done.returncode, None, float("nan"))
    found = json.loads(done.stdout)
    return Outcome(0, found["refusal"], float(found["effect"]))


def main(base: Path, adapter_path: Path, scale: float) -> None:
    """Print the outcome of decoding with the adapter at `scale`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are expected: no core dump
    refusal, effect = None, float("nan")
    with Model(base, n_gpu_layers=0) as model:
        context = Context(
            model,
            n_ctx=256,
            n_batch=256,
            n_threads=1,
            kv_type=KvType.F32,
            uses_flash_attention=False,
        )
        before = logits_after(context, model.tokenize(PROMPT))
        try:
            adapter = LoraAdapter(model, adapter_path)
        except AdapterError as error:
            refusal = str(error)
        else:
            context.set_adapters([(adapter, scale)])
            effect = float(np.max(np.abs(logits_after(context, model.tokenize(PROMPT)) - before)))
    print(json.dumps({"refusal": refusal, "effect": effect}))


def logits_after(context: Context, tokens: list[int]) -> npt.NDArray[np.float32]:
    """Return the logits after `tokens`, evaluated from an empty KV cache."""
    context.clear()
    context.decode(tokens)
    return context.logits()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
