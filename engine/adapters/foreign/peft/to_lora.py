"""Convert PEFT adapters of other methods to LoRA with PEFT, and measure the energy kept.

A method that adds a matrix to each weight can be converted to a LoRA by a singular value
decomposition of that matrix (`peft.convert_to_lora`); one that scales, rotates or prompts cannot.
PEFT and torch come with the extra `[peft]`, and only a child process loads them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import engine
from engine.adapters.foreign.peft.config import CONFIG, read_config
from engine.adapters.foreign.peft.methods import (
    CONVERTIBLE,
    install_command,
    missing_packages,
    remedy,
)
from engine.disk.whole_output import new_folder
from engine.errors import AdapterError
from modelfiles.wording import shown

DEFAULT_RANK: Final = 0.99
"""Share of the energy to keep if no rank is given."""

_WEIGHTS: Final = "adapter_model.safetensors"
CHILD: Final = "engine.adapters.foreign.peft.to_lora_child"

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class LoraForm:
    """An adapter converted to LoRA, and the share of its energy that was kept."""

    folder: Path
    """PEFT folder with a plain LoRA: adapter_config.json and adapter_model.safetensors."""
    method: str
    """The original `peft_type`."""
    energy_kept: float
    """1 - |D - BA|² / |D|² over all modules, where D is the original's delta."""
    energy_kept_least: float
    """The same for the module with the smallest share."""
    least_module: str
    rank_min: int
    rank_max: int
    n_modules: int


def peft_type_of(folder: Path) -> str | None:
    """Return the `peft_type` of the adapter in a PEFT folder, such as `LOHA`, or None if absent."""
    return _peft_type(read_config(folder / CONFIG))


def needs_weights(folder: Path) -> bool:
    """Return whether the LoRA form depends on the base's weights and not only on their shapes.

    PSOFT starts from the base's singular vectors, and MiSS in its form `bat` multiplies its
    blocks; for all others the delta was the same on another base, up to float32 rounding.
    """
    config = read_config(folder / CONFIG)
    method = _peft_type(config)
    return method == "PSOFT" or (method == "MISS" and config.get("init_weights") == "bat")


def to_lora(
    folder: Path,
    weights: Path | None,
    rank: int | float,
    out_folder: Path,
    on_progress: OnProgress = lambda title, fraction: None,
) -> LoraForm:
    """Write an adapter of another method as a LoRA and return the share of its energy kept.

    PEFT takes a full singular value decomposition of every adapted matrix: q and v of a 1B model,
    16 of 2048 x 2048 and 16 of 512 x 2048, took 200 s of processor time and 580 MB. Runs in a
    child process, without network.

    Args:
        folder: A PEFT folder with its weights as safetensors.
        weights: The base's folder for transformers: config.json is enough unless `needs_weights`.
        rank: A rank of at least 1, or as a float the share of each matrix's energy to keep, in
            (0, 1]. MiSS has a rank of its own, which is exact.
        out_folder: The folder to write atomically; replaces an older one.
        on_progress: Called with the current step and the fraction done, 0 to 1.

    Raises:
        AdapterError: The method cannot be converted to LoRA, the extra is not installed, the
            base's folder is missing or another model, or the rank is larger than a matrix.
        EngineError: The folder cannot be written.
    """
    method = _require_convertible(folder)
    _require_rank(rank)
    missing = missing_packages()
    if missing:
        raise AdapterError(
            f"is a {method} adapter, which PEFT can turn into a LoRA, but "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: "
            f"{install_command()}.",
            folder,
        )
    base = _require_base(folder, method, weights)
    with new_folder(out_folder, "The LoRA form") as beside:
        order = {
            "folder": str(folder.absolute()),
            "base": str(base.absolute()),
            "has_weights": needs_weights(folder),
            "rank": rank,
            "out": str(beside.absolute()),
        }
        result = _run(order, folder, on_progress)
    return LoraForm(folder=out_folder, method=method, **result)


def _require_convertible(folder: Path) -> str:
    config = read_config(folder / CONFIG)
    method = _peft_type(config)
    if method is None:
        raise AdapterError("names no peft_type: name a folder saved by PEFT.", folder / CONFIG)
    if method == "LORA":
        raise AdapterError("is a LoRA already: convert it without --rank and --weights.", folder)
    if method not in CONVERTIBLE:
        raise AdapterError(f"is a {shown(method)[1:-1]} adapter: {remedy(method)}.", folder)
    if config.get("bias") not in (None, "none") or config.get("modules_to_save"):
        raise AdapterError(
            "also changes biases or whole modules (bias, modules_to_save), which a LoRA cannot: "
            "train it without them.",
            folder,
        )
    if not (folder / _WEIGHTS).is_file():
        raise AdapterError(
            f"holds no {_WEIGHTS}: save the adapter with safetensors, which runs no code.", folder
        )
    return method


def _require_rank(rank: int | float) -> None:
    is_share = isinstance(rank, float)
    if not (0 < rank <= 1 if is_share else rank >= 1):
        raise AdapterError(
            f"The rank cannot be {rank}: give a whole number from 1, or a share of the energy "
            "above 0 and up to 1.0."
        )


def _require_base(folder: Path, method: str, weights: Path | None) -> Path:
    if weights is None:
        what = "with its weights" if needs_weights(folder) else "of which config.json is enough"
        raise AdapterError(
            f"is a {method} adapter, whose LoRA form depends on the base: name the base's folder "
            f"for transformers, {what}, with --weights FOLDER.",
            folder,
        )
    if not (weights / "config.json").is_file():
        raise AdapterError(
            "holds no config.json: name the folder of the base for transformers.", weights
        )
    if needs_weights(folder) and not any(
        path.suffix in (".safetensors", ".bin") for path in weights.iterdir()
    ):
        raise AdapterError(
            f"holds no weights, which the LoRA form of a {method} adapter is computed from: name a "
            "folder that has them.",
            weights,
        )
    return weights


def _peft_type(config: Mapping[str, Any]) -> str | None:
    method = config.get("peft_type")
    return method.upper() if isinstance(method, str) else None


def _run(order: Mapping[str, Any], folder: Path, on_progress: OnProgress) -> dict[str, Any]:
    """Return the child process's result; raise `AdapterError` with its error message."""
    # -P keeps the current folder, which may hold a module named peft, off the module path.
    paths = [
        str(Path(engine.__file__).parent.parent),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    with TemporaryFile() as complaints:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", CHILD, json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environ,
        )
        assert child.stdout is not None  # because of stdout=PIPE
        try:
            for answer in _answers(child.stdout):
                if "error" in answer:
                    raise AdapterError(f"cannot be made a LoRA: {answer['error']}", folder)
                if "result" in answer:
                    return dict(answer["result"])
                on_progress(str(answer["title"]), float(answer["fraction"]))
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        complaints.seek(0)
        last = complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
    # The interpreter starts its own error messages with its path.
    last = last.removeprefix(f"{sys.executable}: ")
    reason = shown(last)[1:-1] if last else f"exit code {code}"
    raise AdapterError(f"cannot be made a LoRA, PEFT's process ended: {reason}.", folder)


def _answers(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in stream:
        yield json.loads(line)
