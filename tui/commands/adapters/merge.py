"""`tui merge`: merge a model's adapters into its base, as one GGUF file."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.adapters.checking.tied_output import can_untie, is_tied, untied
from engine.adapters.merging.merge import Merged, merge
from engine.adapters.merging.plan import MergeType
from engine.adapters.merging.record import LEAST_RETAINED
from engine.adapters.read import read_adapter
from engine.adapters.scaled_adapter import FusePart, part_of
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from modelfiles.errors import naming
from modelfiles.model import Model
from tui.commands.adapters.merge_report import merge_document, merge_lines
from tui.commands.lora_options import add_lora_options, require_apart, with_loras
from tui.commands.model_option import MODEL_HELP, named_model
from tui.errors import TuiError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, warn, write_json, write_text
from tui.terminal.output_path import output_path
from tui.terminal.progress import Progress

_DESCRIPTION = """\
Merge a model's adapters into its base: one GGUF file that needs no adapters and runs anywhere.

Tensors without adapter are copied byte for byte. The others are written as F16, or F32 where they
were, because a weak adapter falls through the grid of a quantised type: how much of it is in the
file is measured, and under 90 % nothing is written without --force. The noise that quantising adds
besides is not in that number, and can bring it a little over 100 %. For a small file that holds the
adapters whole, merge into the model that the base was quantised from (--from-original).

An adapter of the embeddings or of the output works where the two share their weights, and so do
tensors that llama.cpp runs no adapter on. The file says in its metadata what it was made of."""

_EXAMPLES = """\
  tui merge mine -o mine-merged.gguf
  tui merge mine --lora style --lora-scale 0.5 -o half.gguf
  tui merge mine -o mine-q8.gguf --outtype q8_0
  tui merge mine -o mine-q4.gguf --from-original base-f16.gguf
  echo FROM ./mine-merged.gguf | tui create mine-merged -f -"""

KEEP = "keep"
TYPES = (
    *(KEEP, "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k"),
    *("q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "iq4_xs"),
)
"""Values of --outtype: types that can be written without an importance matrix."""


def configure(parser: Parser) -> None:
    """Describe `merge` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES, takes_intermixed=True)
    parser.add_argument("name", metavar="NAME|GGUF", help=MODEL_HELP)
    parser.add_output_option("the GGUF file to write")
    parser.add_argument(
        "--outtype",
        metavar="TYPE",
        type=str.lower,
        choices=TYPES,
        help="type of the tensors that adapters change, and with --from-original of all: "
        f"{', '.join(TYPES)}; {KEEP} is each tensor's own",
    )
    parser.add_argument(
        "--from-original",
        metavar="GGUF",
        dest="original",
        help="merge into this f16, bf16 or f32 model, which the base was quantised from, then "
        "quantise as the base is",
    )
    add_lora_options(parser)
    parser.add_force_option(", and write it even if it holds under 90 %% of the stack")
    parser.add_json_option(
        "print one JSON document: path, size_bytes, base, stack, retained, n_copied, "
        "n_requantised, is_untied, tensors (name, from, to, retained), notices"
    )


def run(args: argparse.Namespace) -> int:
    """Merge the adapters, then print what was kept of the stack."""
    out = output_path(args.output, is_forced=args.is_forced)
    require_apart(out, args.loras)
    model = named_model(args.name)
    model = with_loras(model, args.loras, _untied(model) if args.loras else None)
    with naming(model.names):
        names, parts = _parts(model)
    original = None if args.original is None else Path(args.original).expanduser().absolute()
    with naming(model.names), Progress() as progress:
        merged = merge(
            model.base,
            parts,
            out,
            type=_type(args.outtype),
            original=original,
            is_forced=args.is_forced,
            names=names,
            on_progress=progress.show,
        )
    for notice in merged.notices:
        note(notice)
    _note_losses(merged)
    if args.outtype not in (None, KEEP):
        _note_substitutes(merged, args.outtype)
    if args.is_json:
        write_json(merge_document(model, names, parts, merged))
    else:
        write_text("\n".join(merge_lines(model, names, parts, merged, args.output)))
    return ExitCode.DONE


def _untied(model: Model) -> GgufHeader:
    """Return the base as the merge can make it, with output weights apart from its embeddings.

    Adapters of either can be converted for it.
    """
    base = require_base(model.base)
    return untied(base) if is_tied(base) and can_untie(base.architecture) else base


def _parts(model: Model) -> tuple[list[str], list[FusePart]]:
    """Return the names of the adapters with a scale other than 0, and their parts for the merge."""
    specs = [spec for spec in model.adapters if spec.scale != 0.0]
    if not specs:
        why = "all its adapters are at scale 0" if model.adapters else "it has no adapters"
        raise TuiError(f"There is nothing to merge into {model.name}: {why}; add one with --lora.")
    parts = [part_of(read_adapter(spec.path, spec.name), spec.scale) for spec in specs]
    return [spec.name for spec in specs], parts


def _type(text: str | None) -> MergeType:
    if text is None:
        return None
    return "keep" if text == KEEP else GgmlType[text.upper()]


def _note_losses(merged: Merged) -> None:
    lossy = sorted((t.retained, t.name) for t in merged.tensors if t.retained < LEAST_RETAINED)
    if lossy:
        share, name = lossy[0]
        some = "1 tensor holds" if len(lossy) == 1 else f"{len(lossy)} tensors hold"
        warn(f"{some} less than 90 % of its change, the least {name} with {share:.1%}.")


def _note_substitutes(merged: Merged, asked: str) -> None:
    """Note which tensors got a type with shorter blocks; F32, F16 and BF16 are not mentioned."""
    usual = (asked, "f32", "f16", "bf16")
    others = [t for t in merged.tensors if t.to_type.name.lower() not in usual]
    if others:
        types = " or ".join(sorted({tensor.to_type.name.lower() for tensor in others}))
        are = "is" if len(others) == 1 else "are"
        note(
            f"{len(others)} of the {len(merged.tensors)} tensors that change {are} {types}, as "
            f"their rows are no whole number of {asked} blocks."
        )
