"""`tui extract`: make an adapter of the difference between two models."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.adapters.extraction.extract import extract
from engine.adapters.extraction.notices import notices
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from modelfiles.errors import naming
from tui.commands.adapters.extract_report import ExtractReport
from tui.commands.adapters.kept import rank_number
from tui.commands.base_option import BASE, Base, named_base
from tui.errors import TuiError, UsageError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_json, write_text
from tui.terminal.output_path import output_path
from tui.terminal.progress import Progress

_DESCRIPTION = """\
Make an adapter of what TUNED has and BASE has not: of each matrix of the difference the best
approximation of a rank, and how much of the difference that keeps. Both are GGUF files of one
architecture and size, names of models, or hf.co/user/repo[:quantisation]; quantised ones work,
too, but their rounding then is part of the difference. Norms, biases and new tokens do not fit
into an adapter; what they are of the difference is told."""

_EXAMPLES = """\
  tui extract tuned.gguf base.gguf -o tuned-lora.gguf --rank 16
  tui extract merged.gguf demo -o lora.gguf --rank 32 --outtype f32
  tui run demo --lora tuned-lora.gguf"""


def configure(parser: Parser) -> None:
    """Describe `extract` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument("tuned", metavar="TUNED", help=f"the fine-tuned model: {BASE}")
    parser.add_argument("base", metavar="BASE", help=f"what it was tuned from: {BASE}")
    parser.add_output_option("the adapter file to write")
    parser.add_argument(
        "--rank",
        metavar="R",
        type=rank_number,
        required=True,
        help="rank of the adapter: 8 to 64 are usual; more keeps more of the difference",
    )
    parser.add_argument(
        "--outtype",
        choices=("f16", "f32"),
        default="f16",
        help="how weights are stored (default: f16)",
    )
    parser.add_force_option()
    parser.add_json_option(
        "print one JSON document: path, size_bytes, tuned, base, architecture, rank, kept, "
        "modules, left_out, n_equal, notices"
    )


def run(args: argparse.Namespace) -> int:
    """Compare the models, write the adapter, and print how much of the difference it keeps."""
    out = output_path(args.output, is_forced=args.is_forced)
    tuned = _tuned(args.tuned)
    named = named_base(args.base)
    base = named.header
    _require_apart(out, tuned.header, base)
    with naming({**named.names, **tuned.names}), Progress() as progress:
        extracted = extract(
            tuned.header,
            base,
            out,
            args.rank,
            type_=GgmlType.F32 if args.outtype == "f32" else GgmlType.F16,
            on_progress=lambda name, done: progress.show(f"extracting {name}", done),
        )
    told = notices(base, tuned.header, extracted.modules)
    for sentence in told:
        note(sentence)
    report = ExtractReport(extracted, tuned.header, base, args.rank, told)
    if args.is_json:
        write_json(report.document())
    else:
        write_text("\n".join(report.lines(args.output)))
    return ExitCode.DONE


def _tuned(reference: str) -> Base:
    """Return TUNED; refuse a model with adapters, as they would not be compared."""
    tuned = named_base(reference)
    if tuned.adapters:
        raise TuiError(
            f"{tuned.name} is a base with adapters, which are no difference in its weights: use "
            f"the adapters themselves, or fuse them with `tui fuse {reference}`."
        )
    return tuned


def _require_apart(out: Path, tuned: GgufHeader, base: GgufHeader) -> None:
    """Refuse an output path that is a folder or one of the files being read."""
    if out.is_dir():
        raise TuiError(f"{out} is a folder: name a file to write with -o.")
    for path in (*tuned.part_stamps, *base.part_stamps):
        if out.exists() and out.samefile(path):
            raise UsageError(f"{out} is one of the models: name another with -o.")
