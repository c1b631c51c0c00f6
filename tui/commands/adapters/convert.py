"""`tui convert`: convert an adapter that another program trained to GGUF."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.adapters.conversion.convert import Conversion, convert
from engine.adapters.conversion.placement.base_model import short_name
from engine.adapters.foreign.peft.to_lora import LoraForm
from engine.adapters.foreign.source import LoraSource
from engine.resolve.reference import resolve_adapter
from modelfiles.errors import naming
from tui.commands.adapters.other_methods import add_options, form_document, form_text, lora_form
from tui.commands.base_option import BASE, Base, fitting_base, named_base
from tui.commands.fetching import watching
from tui.errors import InputError, TuiError, UsageError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_json, write_text
from tui.terminal.output_path import output_path
from tui.terminal.progress import Progress
from tui.text.tables import table_lines, wrapped
from tui.text.units import size_text

_DESCRIPTION = """\
Convert a LoRA adapter to GGUF for one base: a folder that PEFT saved (also by way of Unsloth,
Axolotl or LLaMA-Factory, as safetensors or .bin), or an MLX adapter; here, at hf.co/user/repo, or
pulled. Neither torch nor transformers nor the original model are needed: the base's GGUF says what
the adapter must fit.

Without --base, the models that `tui list` shows are tried, and the one that fits is taken. Scales
are exact, also those of rsLoRA, rank_pattern and alpha_pattern. `tui run --lora` and the ADAPTER
line of a Modelfile take such folders too, and convert them by themselves.

LoHa, LoKr, VeRA and other methods that add to the weights become a LoRA first, with the extra
[peft] (torch and PEFT), --weights and, if you like, --rank; how much of them is kept is told."""

_EXAMPLES = """\
  tui convert ./my-lora
  tui convert ./my-lora --base demo -o style.gguf
  tui convert hf.co/user/sql-lora --base mine
  tui convert ./run-7/checkpoint-500 --base ./llama-3.2-1b-q8_0.gguf --outtype f16
  tui convert ./my-loha --base demo --weights ./base-for-transformers --rank 32"""

_ROOM = 62
"""Cells for a value beside its name, on 80 columns."""
_SPACES = re.compile(r"[^\w.+-]+")


def configure(parser: Parser) -> None:
    """Describe `convert` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument(
        "source",
        metavar="REF",
        help="the adapter's folder, its weights, hf.co/user/repo, or the name of a pulled one",
    )
    parser.add_argument(
        "--base",
        metavar=BASE,
        help="the model it is for: a name of `tui list`, or its GGUF file",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="the file to write (default: the adapter's name with .gguf, in this folder)",
    )
    parser.add_argument(
        "--outtype",
        choices=("auto", "f32", "f16", "bf16", "q8_0"),
        default="auto",
        help="how weights are stored; auto keeps their precision (default: auto)",
    )
    parser.add_argument(
        "--config",
        metavar="CONFIG.JSON",
        help="the config.json of the base model, for the few architectures that need it",
    )
    add_options(parser)
    parser.add_force_option()
    parser.add_json_option(
        "print one JSON document: path, name, architecture, base, ranks, alpha, targets, "
        "types, n_folded, dropped, notices, size_bytes, original (null, or of an adapter of "
        "another method: method, energy_kept, energy_kept_least, least_module)"
    )


def run(args: argparse.Namespace) -> int:
    """Convert the adapter, and print what was written and how to use it."""
    # OpenBLAS reads this when numpy is imported. No matrices are multiplied here, and starting a
    # thread for each core took 0.1 of 0.5 s of processor time on two cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    config = None if args.config is None else _config(args.config)
    for option in ("source", "base", "output", "config", "weights"):
        if getattr(args, option) == "":
            raise UsageError(f"A path is empty, that of {option} (see 'tui convert --help').")
    with watching(args.source) as watch:
        named = resolve_adapter(args.source, watch=watch)
    base = None if args.base is None else named_base(args.base)
    if args.output is not None:
        # Checked before work that may take minutes.
        output_path(args.output, is_forced=args.is_forced)
    with (
        Progress() as progress,
        lora_form(named.path, args.rank, args.weights, progress) as (
            source,
            form,
        ),
    ):
        written = args.output or _file_name(source)
        out = output_path(written, is_forced=args.is_forced)
        # What the user typed is said in messages, or where it is from: not a place in a cache.
        source = replace(source, path=Path(named.address or args.source))
        base = base or fitting_base(source, config)
        _require_own_file(out, source, base)
        with naming(base.names):
            made = convert(
                source,
                base.header,
                out,
                out_type=args.outtype,
                config=config,
                on_progress=lambda fraction: progress.show(f"converting {source.title}", fraction),
            )
    for notice in made.notices:
        note(notice)
    if args.is_json:
        write_json(_document(made, base, form))
    else:
        write_text("\n".join(_lines(made, base, written, form)))
    return ExitCode.DONE


def _config(text: str) -> dict[str, Any]:
    advice = "give the config.json of the base model with --config"
    try:
        document = json.loads(Path(text).expanduser().read_bytes())
    except OSError as error:
        raise InputError(f"{text} cannot be read: {error.strerror}; {advice}.") from None
    except (ValueError, RuntimeError, RecursionError):
        raise InputError(f"{text} is not JSON: {advice}.") from None
    if not isinstance(document, dict):
        raise InputError(f"{text} holds no JSON object: {advice}.")
    return document


def _file_name(source: LoraSource) -> str:
    """Return the source's title as a file name: `user/My LoRA` becomes `My-LoRA.gguf`."""
    stem = _SPACES.sub("-", source.title.rpartition("/")[2])[:100].strip("-.")
    return f"{stem or 'adapter'}.gguf"


def _require_own_file(out: Path, source: LoraSource, base: Base) -> None:
    """Refuse to write over a file that is being read, even with --force."""
    read = (*source.files, *base.header.part_stamps)
    if out.exists() and any(path.exists() and path.samefile(out) for path in read):
        raise TuiError(f"{out} is being read: name another file to write with -o.")


def _lines(made: Conversion, base: Base, written: str, form: LoraForm | None) -> list[str]:
    types = " and ".join(f"{n} {type_}" for type_, n in made.types.items())
    targets = wrapped(f"{', '.join(_modules(made.targets))} ({_pairs(made.n_pairs)})", _ROOM)
    rows = [
        ("size", size_text(made.size_bytes)),
        ("architecture", made.architecture),
        ("base", base.shown),
        ("rank", _ranks_text(made.ranks)),
        ("alpha", f"{made.alpha:g}"),
        *(("" if index else "targets", line) for index, line in enumerate(targets)),
        ("tensors", types),
    ]
    if form is not None:
        rows.insert(0, ("was", form_text(form)))
    if made.n_folded:
        rows.append(("folded", f"{_pairs(made.n_folded)} with a scale of their own, kept in B"))
    if made.dropped:
        rows.append(("dropped", f"{_pairs(len(made.dropped))} of vision or audio, not run here"))
    model = shlex.quote(base.name) if base.name else "NAME"
    return [
        f"converted {made.name} into the adapter {written}",
        *(f"  {line}" for line in table_lines(rows)),
        f"next: tui run {model} --lora {shlex.quote(written)}",
    ]


def _document(made: Conversion, base: Base, form: LoraForm | None) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "name": made.name,
        "architecture": made.architecture,
        "base": {"name": base.name or None, "path": str(base.header.path)},
        "ranks": list(made.ranks),
        "alpha": made.alpha,
        "targets": list(made.targets),
        "types": dict(made.types),
        "n_folded": made.n_folded,
        "dropped": list(made.dropped),
        "notices": list(made.notices),
        "size_bytes": made.size_bytes,
        "original": None if form is None else form_document(form),
    }


def _modules(targets: tuple[str, ...]) -> list[str]:
    """Return the targets without layer and ending, each once, such as `attn_q`."""
    return list(dict.fromkeys(map(short_name, targets)))


def _ranks_text(ranks: tuple[int, ...]) -> str:
    return str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
