"""`tui fuse`: write a stack of adapters as one adapter file or one PEFT folder."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from engine.adapters.fusing.compress import summed_ranks, write_compressed
from engine.adapters.fusing.energy import Energy, ModuleEnergy, whole
from engine.adapters.fusing.fuse import fuse
from engine.adapters.fusing.spool import FloatType
from engine.adapters.fusing.stack_metadata import stack_metadata
from engine.adapters.peft_export.card import peft_card
from engine.adapters.peft_export.export import base_repository, write_peft_folder
from engine.gguf.ggml_type import GgmlType
from modelfiles.errors import naming
from modelfiles.wording import shown
from tui.commands.adapters.fuse_input import Fusing, fusing_of
from tui.commands.adapters.fuse_report import FuseReport
from tui.commands.adapters.kept import rank_number
from tui.commands.base_option import BASE
from tui.commands.lora_options import add_lora_options, require_apart
from tui.commands.model_option import MODEL_HELP
from tui.errors import TuiError, UsageError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_json, write_text
from tui.terminal.output_path import output_path
from tui.terminal.progress import Progress

_DESCRIPTION = """\
Write a stack of adapters as one adapter, which does at scale 1 what the stack does at its scales.
NAME is a model with its adapters, and --lora adds to them as in `tui run`; without NAME, the
adapters named with --lora alone are fused. What has scale 0 is left out.

As a GGUF file the mathematics is the same: ranks add up, and the file runs about as fast as a
single adapter. --rank compresses it by singular value decomposition, and tells what is kept of
every module: the share of the squared Frobenius norm. As a PEFT folder, names and order of rows are
those of transformers, and programs that serve adapters but cannot stack them (vLLM, SGLang, LoRAX)
can load it."""

_EXAMPLES = """\
  tui fuse mine -o mix.gguf
  tui fuse demo --lora pirate --lora-scale 0.7 --lora formal -o mix.gguf --rank 8
  tui fuse --lora a.gguf --lora b.gguf --lora-scale -0.5 -o mix.gguf
  tui fuse mine -o mix --format peft --base-name org/model"""

_FILES_OF_PEFT = {"adapter_config.json", "adapter_model.safetensors", "README.md"}


def configure(parser: Parser) -> None:
    """Describe `fuse` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument("name", metavar="NAME|GGUF", nargs="?", help=MODEL_HELP)
    add_lora_options(parser)
    parser.add_output_option("the file or folder to write")
    parser.add_argument(
        "--format",
        choices=("gguf", "peft"),
        default="gguf",
        help="gguf: one file for llama.cpp (default); peft: a folder for PEFT and servers",
    )
    parser.add_argument(
        "--rank",
        metavar="R",
        type=rank_number,
        help="keep at most this rank of every module, the best there is of it (default: all)",
    )
    parser.add_argument(
        "--outtype",
        choices=("auto", "f16", "f32"),
        default="auto",
        help="how weights are stored; auto: f32 where an adapter is f32, else f16 (default)",
    )
    parser.add_argument(
        "--base",
        metavar=BASE,
        help="the base of adapters named with --lora alone, to check them; folders of PEFT or "
        "MLX and --format peft need it",
    )
    parser.add_argument(
        "--base-name",
        metavar="ID",
        help="base_model_name_or_path of a PEFT folder (default: what the base's metadata says)",
    )
    parser.add_force_option()
    parser.add_json_option(
        "print one JSON document: path, format, size_bytes, architecture, stack, ranks, kept, "
        "modules"
    )


def run(args: argparse.Namespace) -> int:
    """Check the stack, write it, and print the result."""
    _require_sense(args)
    out = output_path(args.output, is_forced=args.is_forced)
    _require_replaceable(out, args.format)
    fusing = fusing_of(args)
    fusing.require_apart(out)
    require_apart(out, args.loras)
    write = _write_peft if args.format == "peft" else _write_gguf
    with naming(fusing.names):
        report = write(fusing, out, args)
    if args.is_json:
        write_json(report.document())
    else:
        write_text("\n".join(report.lines(args.output)))
    return ExitCode.DONE


def _require_sense(args: argparse.Namespace) -> None:
    if args.format == "gguf" and args.base_name is not None:
        raise UsageError("--base-name goes with --format peft: a GGUF file names no repository.")
    if args.format == "peft" and args.name is None and args.base is None:
        raise UsageError(
            "A PEFT folder needs the base, which tells how rows are ordered: add --base."
        )


def _require_replaceable(out: Path, format_: str) -> None:
    """Refuse to replace a folder by a file, or anything but a folder by a folder.

    A folder may be replaced only if it holds nothing but the files that are written here.
    """
    if out.is_dir() and (format_ == "gguf" or out.is_symlink()):
        raise TuiError(f"{out} is a folder: name a file to write with -o.")
    if format_ == "peft" and out.exists():
        if not out.is_dir():
            raise TuiError(f"{out} is a file: name a folder to write with -o.")
        others = {path.name for path in out.iterdir()} - _FILES_OF_PEFT
        if others:
            raise TuiError(
                f"{out} is a folder with other files, {shown(min(others))} first, which would be "
                "lost: name another with -o."
            )


def _write_gguf(fusing: Fusing, out: Path, args: argparse.Namespace) -> FuseReport:
    ranks = summed_ranks(fusing.parts)
    rank: int | None = args.rank
    if rank is not None and rank >= max(ranks.values()):
        note(f"The stack's rank is {max(ranks.values())}: at rank {rank} nothing is lost.")
        rank = None
    texts = stack_metadata(fusing.stack, fusing.headers, rank)
    type_ = _type(fusing, args.outtype)
    with Progress() as progress:
        show = partial(_show, progress)
        if rank is None:
            fuse(fusing.parts, out, b_type=type_, texts=texts, on_progress=show)
            modules = tuple(ModuleEnergy(t, r, Energy(1.0, 1.0)) for t, r in ranks.items())
        else:
            modules = write_compressed(
                fusing.parts, out, rank, type_=type_, texts=texts, on_progress=show
            )
    return FuseReport(
        out,
        "gguf",
        out.stat().st_size,
        fusing.architecture,
        fusing.stack,
        list(ranks.values()),
        modules,
    )


def _write_peft(fusing: Fusing, out: Path, args: argparse.Namespace) -> FuseReport:
    base = fusing.base
    if base is None:  # `_require_sense` made sure that one was named
        raise UsageError("A PEFT folder needs the base: add --base.")
    base_name = args.base_name
    if base_name is None:
        base_name = base_repository(base) or ""
        said = f"called {base_name} by its metadata" if base_name else "named by no metadata"
        note(f"The base is {said}: --base-name says where servers find it.")
    ranks = list(summed_ranks(fusing.parts).values())
    with Progress() as progress:
        show = partial(_show, progress)
        folder = write_peft_folder(
            fusing.parts,
            base,
            out,
            rank=args.rank,
            type_=_type(fusing, args.outtype),
            base_name=base_name,
            card=lambda rank, modules: peft_card(
                fusing.stack, base_name, rank, whole(modules).share
            ),
            on_progress=show,
        )
    for notice in folder.notices:
        note(notice)
    if args.rank is not None and folder.is_whole:
        note(f"The stack's rank is {folder.rank}: at rank {args.rank} nothing is lost.")
    return FuseReport(
        out,
        "peft",
        folder.size_bytes,
        fusing.architecture,
        fusing.stack,
        ranks,
        folder.modules,
        {"rank": folder.rank, "base_name": base_name or None, "targets": folder.targets},
    )


def _show(progress: Progress, name: str, fraction: float) -> None:
    progress.show(f"fusing {name}", fraction)


def _type(fusing: Fusing, outtype: str) -> FloatType:
    if outtype == "auto":
        types = {t.type for header in fusing.headers for t in header.tensors.values()}
        return GgmlType.F32 if GgmlType.F32 in types else GgmlType.F16
    return GgmlType.F32 if outtype == "f32" else GgmlType.F16
