"""Turn adapters of other methods than LoRA into a LoRA, on the way to a GGUF file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.adapters.foreign.find import adapter_title, find_adapter
from engine.adapters.foreign.formats.untrusted_file import content_hash
from engine.adapters.foreign.peft.to_lora import DEFAULT_RANK, LoraForm, peft_type_of, to_lora
from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraSource
from tui.errors import UsageError
from tui.terminal.progress import Progress


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that control the LoRA form to a command."""
    parser.add_argument(
        "--rank",
        metavar="R|SHARE",
        type=_rank,
        help="for LoHa, LoKr, VeRA and other methods of PEFT: the rank of the LoRA, such as 16, or "
        "the share of the energy to keep, such as 0.95 (default: 0.99); needs the extra [peft]",
    )
    parser.add_argument(
        "--weights",
        metavar="FOLDER",
        help="for those: the base's folder for transformers; mostly its config.json is enough",
    )


@contextmanager
def lora_form(
    path: Path, rank: int | float | None, weights: str | None, progress: Progress
) -> Iterator[tuple[LoraSource, LoraForm | None]]:
    """Yield the adapter at `path` as a LoRA, readable until the block ends, and its `LoraForm`.

    Without a rank or a base the adapter is read unchanged and the form is None: the readers then
    refuse other methods. The LoRA form has the title and the digest of the original. Raises
    `AdapterError` if it cannot be made, and `UsageError` if the adapter is a LoRA already.
    """
    if rank is None and weights is None:
        yield read_source(path), None
        return

    files = find_adapter(path)
    folder = files.config.parent
    method = peft_type_of(folder)
    if method is None or method in ("LORA", "ADALORA"):
        raise UsageError(f"{path} is a LoRA already: leave --rank and --weights out.")
    originals = (files.config, *files.weights[0].files)
    with TemporaryDirectory(prefix="lora-tui-form-") as place:
        given = None if weights is None else _folder(weights)
        chosen = DEFAULT_RANK if rank is None else rank
        form = to_lora(folder, given, chosen, Path(place) / "lora", progress.show)
        source = read_source(form.folder)
        yield (
            replace(
                source,
                path=path,
                files=(*source.files, *originals),
                title=adapter_title(folder),
                sha256=content_hash(originals),
            ),
            form,
        )


def _folder(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        is_there = path.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, no such home folder, a zero byte
        is_there = False
    if not is_there:
        raise UsageError(f"There is no folder {text!r}: name the base's with --weights.")
    return path


def form_text(form: LoraForm) -> str:
    """Return how much was kept of the original adapter, as text."""
    least = f"{_percent(form.energy_kept_least)} in {form.least_module}"
    return f"{form.method}, of which {_percent(form.energy_kept)} is kept, least {least}"


def form_document(form: LoraForm) -> dict[str, Any]:
    """Return how much was kept of the original adapter, for a JSON document."""
    return {
        "method": form.method,
        "energy_kept": form.energy_kept,
        "energy_kept_least": form.energy_kept_least,
        "least_module": form.least_module,
    }


def _percent(share: float) -> str:
    # Rounded down, so that 100 % never stands for a visible loss.
    return f"{int(share * 10_000) / 100:g} %"


def _rank(text: str) -> int | float:
    try:
        rank = int(text) if text.isdigit() else float(text)
    except ValueError:
        rank = 0
    if not (rank >= 1 if isinstance(rank, int) else 0 < rank <= 1):
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a rank, such as 16, nor a share of the energy, such as 0.95"
        )
    return rank
