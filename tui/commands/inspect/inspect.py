"""`tui inspect`: show what adapters change and how much, and how far they overlap."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from engine.adapters.foreign.read import read_source
from engine.adapters.inspection.base_norms import BaseNorms
from engine.adapters.inspection.inspect import Inspection, inspect, measured
from engine.adapters.inspection.norm_grid import norm_grid
from engine.adapters.inspection.overlap import Overlap, overlaps
from engine.adapters.inspection.source_inspect import converted_from, inspect_source, refused
from engine.errors import EngineError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from engine.gguf.weights import Bytes, Floats, decoded
from engine.llama.cpu import physical_cores
from engine.llama.quants import dequantized
from engine.resolve.converted import converted_adapter, converted_folder
from engine.resolve.watch import Watch
from modelfiles.errors import naming
from modelfiles.library import open_library
from modelfiles.references.model_name import free_name
from modelfiles.state.home import state_home
from tui.commands.base_option import BASE, named_base
from tui.commands.inspect.document import inspection_document, whole_document
from tui.commands.inspect.page import inspection_lines, overlap_lines
from tui.commands.inspect.references import AdapterReference, Inspected, read_references
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import write_json
from tui.terminal.progress import Progress
from tui.terminal.shading import ink_for

_DESCRIPTION = """\
Say what LoRA adapters are: where they come from, their rank and alpha, what they change, and the
norm of what they add to each layer and module, as a heat map. With a base, whether they fit it,
rule by rule, and the norms relative to the base's weights, of which those that are changed are
read. Of several adapters also the overlap: whether they pull the same way.

REF is an adapter's name in the model that --base names, a GGUF file, the folder of a PEFT or MLX
adapter, hf.co/user/repo[:file], the name of a pulled adapter, or a model (a name or a GGUF file),
which stands for all its adapters and is their base. An adapter that breaks a rule is shown like any
other: scripts look at `fits` of --json."""

_EXAMPLES = """\
  tui inspect style.gguf                    by itself
  tui inspect style.gguf --base demo        with norms relative to the base of a model
  tui inspect pirate formal --base demo     two adapters of a model, and their overlap
  tui inspect demo --json                   everything about all adapters of a model"""

_WIDTH = 80


def configure(parser: Parser) -> None:
    """Describe `inspect` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES, takes_intermixed=True)
    parser.add_argument("references", metavar="REF", nargs="+", help="an adapter, or a model")
    parser.add_argument(
        "--base", metavar=BASE, help="the model they are to be used with, or its GGUF file"
    )
    parser.add_json_option(
        "print one JSON document: base, adapters (rules, targets with norms), overlaps (cosines)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the page of each adapter and their overlap, or the JSON document."""
    named = None if args.base is None else named_base(args.base)
    wanted = read_references(args.references, named, open_library())
    with naming(wanted.names), Progress() as progress:
        base = require_base(wanted.base) if wanted.base is not None else None
        inspections = _inspections(wanted, base, progress)
        compared: tuple[Overlap, ...] = ()
        if len(inspections) > 1:
            compared = overlaps(inspections, on_fraction=lambda n: progress.show("comparing", n))
    if args.is_json:
        _print_document(wanted, base, inspections, compared)
    else:
        _print_pages(wanted, inspections, compared)
    return ExitCode.DONE


def _inspections(
    wanted: Inspected, base: GgufHeader | None, progress: Progress
) -> tuple[Inspection, ...]:
    """Inspect and measure each adapter; the base's weights are read once for all of them."""
    norms = BaseNorms(_decoded, physical_cores())
    inspections: list[Inspection] = []
    for reference in wanted.adapters:
        inspection = _inspected(reference, base, progress)
        name = free_name(inspection.name, [one.name for one in inspections])
        show = partial(progress.show, f"reading weights for {name}")
        inspections.append(measured(replace(inspection, name=name), norms, on_fraction=show))
    return tuple(inspections)


def _inspected(
    reference: AdapterReference, base: GgufHeader | None, progress: Progress
) -> Inspection:
    """Inspect a GGUF file directly, and another program's adapter converted if there is a base.

    If it cannot be converted for the base, it is inspected unconverted, with the reason.
    """
    path = reference.path
    if not reference.is_foreign:
        return inspect(path, reference.name, base)
    source = inspect_source(read_source(path), reference.name)
    if base is None:
        return source
    show = partial(progress.show, f"converting {path.name}")
    try:
        folder = converted_folder(state_home())
        made = converted_adapter(path, base, folder, Watch(on_progress=show))
    except EngineError as error:
        return refused(source, base, str(error.about({path: "The adapter", base.path: "The base"})))
    converted = inspect(made.path, source.name, base)
    notices = (*made.notices, *converted.notices)
    return converted_from(source, replace(converted, notices=notices))


def _decoded(data: Bytes, type_: GgmlType, row_length: int) -> Floats:
    """Decode weights with ggml, ten times as fast as numpy; F32, F16 and BF16 need no llama.cpp."""
    if type_ in (GgmlType.F32, GgmlType.F16, GgmlType.BF16):
        return decoded(data, type_, row_length)

    return dequantized(data, type_, row_length)


def _print_pages(
    wanted: Inspected, inspections: Sequence[Inspection], compared: Sequence[Overlap]
) -> None:
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((_WIDTH, 24)).columns if is_terminal else _WIDTH
    has_ticks = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    lines: list[str] = []
    for inspection, reference in zip(inspections, wanted.adapters, strict=True):
        lines += inspection_lines(
            inspection,
            norm_grid(inspection),
            base_name=wanted.base_name,
            scale=reference.scale,
            width=width,
            ink=ink_for(sys.stdout),
            has_ticks=has_ticks,
            is_brief=len(inspections) > 1,
        )
    if compared:
        lines += overlap_lines(compared, [one.name for one in inspections], width)
    # Every text was cleaned when it was laid out; the remaining escape sequences are our own.
    sys.stdout.write("\n".join(lines))


def _print_document(
    wanted: Inspected,
    base: GgufHeader | None,
    inspections: Sequence[Inspection],
    compared: Sequence[Overlap],
) -> None:
    adapters = [
        inspection_document(inspection, norm_grid(inspection), reference.scale)
        for inspection, reference in zip(inspections, wanted.adapters, strict=True)
    ]
    write_json(whole_document(base, adapters, compared))
