"""Run `tui` as users do: in a separate process, with its own home and working folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.tiny_models import write_adapter, write_base

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 180
N_CTX_TRAIN = 65_536

MODELFILE = """\
FROM ./base.gguf
ADAPTER ./loud.gguf scale=0.5
ADAPTER ./calm.gguf scale=0
PARAMETER num_thread 1
PARAMETER num_ctx 256
PARAMETER num_predict 8
PARAMETER temperature 0
PARAMETER stop "<never>"
SYSTEM Answer in one line.
LICENSE Free to use.
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code and output of a process."""

    code: int
    out: str
    err: str


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a `tui` that keeps its state in `home`.

    Its Ollama store is the folder `ollama` beside `home`, if a test has created it.
    """
    return {
        **os.environ,
        "LORA_TUI_HOME": str(home),
        "OLLAMA_MODELS": str(home.parent / "ollama"),
        "PYTHONPATH": str(ROOT),
    }


def run_python(
    *arguments: str,
    home: Path,
    folder: Path,
    stdin: str | bytes = "",
    before: Callable[[], None] | None = None,
    output: int = subprocess.PIPE,
    environ: Mapping[str, str] | None = None,
) -> Ended:
    """Run Python with `arguments` in `folder`; `before` runs in the child before it starts.

    Captures stdout unless it goes to the file descriptor `output`; `environ` overrides variables
    of the environment.
    """
    given = stdin.encode() if isinstance(stdin, str) else stdin
    ended = subprocess.run(
        [sys.executable, *arguments],
        input=given,
        stdout=output,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**environment(home), **(environ or {})},
        preexec_fn=before,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ended(ended.returncode, (ended.stdout or b"").decode(), ended.stderr.decode())


def run_tui(
    *arguments: str,
    home: Path,
    folder: Path,
    stdin: str | bytes = "",
    before: Callable[[], None] | None = None,
    output: int = subprocess.PIPE,
    environ: Mapping[str, str] | None = None,
) -> Ended:
    """Run `tui` with `arguments` in `folder`, with `stdin` piped in."""
    return run_python(
        *("-m", "tui", *arguments),
        home=home,
        folder=folder,
        stdin=stdin,
        before=before,
        output=output,
        environ=environ,
    )


def write_model_files(folder: Path) -> Path:
    """Write a base, two adapters and a Modelfile of them all; return the Modelfile."""
    base = write_base(folder / "base.gguf", n_ctx_train=N_CTX_TRAIN)
    write_adapter(folder / "loud.gguf", base, seed=1, scale_of_weights=2.0)
    write_adapter(folder / "calm.gguf", base, seed=2)
    modelfile = folder / "Modelfile"
    modelfile.write_text(MODELFILE)
    return modelfile
