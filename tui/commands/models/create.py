"""`tui create`: create a model from a Modelfile, checked before anything is written."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from engine.errors import BaseError, EngineError
from engine.gguf.model_header import require_base
from engine.resolve.adapter import adapter_notices, equal_adapters
from modelfiles.errors import ModelfilesError, TemplateError
from modelfiles.language.modelfile import Modelfile
from modelfiles.library import open_library
from modelfiles.model import Model
from modelfiles.references.model_name import ModelName
from modelfiles.references.resolve import resolve
from modelfiles.state.home import state_home
from modelfiles.store.blobs import CopyProgress
from modelfiles.store.created import ModelStore
from modelfiles.template.check import (
    REPLACED,
    check_chat_template,
    check_template,
    unknown_fields,
)
from tui.commands.fetching import adapter_of_line, download
from tui.errors import InputError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, warn, write_text
from tui.terminal.progress import Progress
from tui.text.units import size_text

_DESCRIPTION = """\
Create a model from a Modelfile. Its base and its adapters are checked against each other first:
if anything is wrong, one sentence says what and where, and nothing is created.

FROM is an existing path (a GGUF file, the first part of a split one, a folder with one GGUF), else
a created model, whose adapters and settings are inherited, else a model of Ollama's store, else
hf.co/user/repo[:quantisation], which is downloaded. ADAPTER is a path (a GGUF file, or the folder
of a PEFT or MLX adapter, which is converted for the base), hf.co/user/repo[:file or folder], or
the name of an adapter that 'tui pull' brought.

The files are linked into the store where the disk allows it, else copied."""

_EXAMPLES = """\
  tui create mine                       from ./Modelfile
  tui create mine:formal -f formal.modelfile
  tui show mine --modelfile | tui create mine:copy -f -
  echo 'FROM hf.co/user/repo:Q4_K_M' | tui create mine -f -

a Modelfile:
  FROM ./base.gguf
  ADAPTER ./style.gguf scale=0.7 name=style
  PARAMETER temperature 0.7
  SYSTEM Answer in one sentence."""

_STDIN = "-"
_LARGEST_BYTES = 64 * 2**20
_CHAT_TEMPLATE = "tokenizer.chat_template"
_TOKENIZER = "tokenizer.ggml.model"
_NO_TOKENIZERS = ("none", "no_vocab")
"""A larger file is a model given by mistake, which must not be read into memory."""


def configure(parser: Parser) -> None:
    """Describe `create` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument("name", metavar="NAME", help="name of the model, such as mine or mine:v2")
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE",
        default="Modelfile",
        help="the Modelfile; - reads it from stdin (default: Modelfile in this folder)",
    )


def run(args: argparse.Namespace) -> int:
    """Read, resolve and check the Modelfile, then store the model and print a summary."""
    name = ModelName.parse(args.name).display
    is_piped = args.file == _STDIN
    label = "stdin" if is_piped else args.file
    folder = Path.cwd() if is_piped else Path(args.file).absolute().parent
    source = _source(args.file)
    choices: list[str] = []
    try:
        modelfile = Modelfile.from_text(source)
        model = resolve(
            modelfile,
            folder,
            open_library(),
            name,
            download=download,
            adapters=adapter_of_line,
            on_choice=choices.append,
        )
    except ModelfilesError as error:
        raise InputError(located(label, str(error))) from error
    _check(model, modelfile, label)
    _warn(modelfile, label)
    _create(model)
    for sentence in choices:
        note(located(label, sentence))
    return ExitCode.DONE


def located(label: str, sentence: str) -> str:
    """Return a sentence about a Modelfile with the file and the line in front.

    The sentence names its line as `(line 3)`, at its beginning or at its end.
    """
    found = re.match(r"\(line (\d+)\):? ", sentence) or re.search(r" \(line (\d+)\)$", sentence)
    if found is None:
        return f"{label}: {sentence}"
    return f"{label}:{found[1]}: {sentence[: found.start()]}{sentence[found.end() :]}"


def _source(file: str) -> bytes:
    if file == _STDIN:
        return sys.stdin.buffer.read()
    try:
        with Path(file).open("rb") as modelfile:
            source = modelfile.read(_LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(
            f"There is no file '{file}': give the Modelfile with -f FILE, or - for stdin."
        ) from error
    if source.startswith(b"GGUF") or len(source) > _LARGEST_BYTES:
        raise InputError(f"'{file}' is no Modelfile: write one that says FROM {file}.")
    return source


def _check(model: Model, modelfile: Modelfile, label: str) -> None:
    """Refuse a base, a TEMPLATE or an adapter that cannot be used, naming the line."""
    # Adapters inherited from the model that FROM names come first and have no line of their own.
    n_inherited = len(model.adapters) - len(modelfile.adapters)
    lines = [modelfile.base_line] * n_inherited + [adapter.line for adapter in modelfile.adapters]
    line = modelfile.base_line
    if model.template:
        # A TEMPLATE inherited from the model that FROM names has no line of its own.
        _check_template(model.template, f"{label}:{modelfile.template_line or line}")
    try:
        base = require_base(model.base)
        if base.text(_TOKENIZER) in _NO_TOKENIZERS:
            raise BaseError("has no vocabulary, so it cannot read a prompt.", model.base)
        if not model.template:
            _check_chat_template(base.text(_CHAT_TEMPLATE), f"{label}:{modelfile.base_line}")
        for sentence in equal_adapters(model.adapters):
            note(f"{label}: {sentence}")
        for line, spec in zip(lines, model.adapters, strict=True):
            for notice in adapter_notices(spec.path, base):
                note(f"{label}:{line}: {notice}")
    except EngineError as error:
        # Files of the model that FROM names are known by its name and its adapters' names.
        names = {spec.path: spec.name for spec in model.adapters[:n_inherited]}
        error.about(names | {model.base: modelfile.base})
        raise InputError(f"{label}:{line}: {error}") from error


def _check_template(template: str, place: str) -> None:
    """Refuse a TEMPLATE that cannot format a conversation."""
    try:
        check_template(template)
        for sentence in unknown_fields(template):
            warn(f"{place}: {sentence}.")
    except TemplateError as error:
        raise InputError(f"{place}: The TEMPLATE cannot be used: {error}.") from error


def _check_chat_template(template: str | None, place: str) -> None:
    """Refuse a base whose own chat template leaves the question out of the prompt."""
    try:
        if template:
            check_chat_template(template)
    except TemplateError as error:
        reason = str(error).rstrip(".")
        raise InputError(f"{place}: In the base, {reason}. {REPLACED}") from error


def _warn(modelfile: Modelfile, label: str) -> None:
    """Warn on stderr about instructions of the Modelfile that have no effect."""
    for sentence in modelfile.warnings:
        warn(located(label, sentence.removeprefix("warning: ")))
    kept = modelfile.kept
    for directive, value, why in (
        ("RENDERER", kept.renderer, "the TEMPLATE, else the base's own, is used"),
        ("PARSER", kept.parser, "answers are shown as the model writes them"),
        ("DRAFT", kept.drafts, "answers are generated by the base alone"),
        ("REQUIRES", kept.requires, "it names a version of Ollama"),
    ):
        if value:
            warn(f"{label}: {directive} is kept, but has no effect: {why}.")


def _create(model: Model) -> None:
    with Progress() as progress:

        def show(copied: CopyProgress) -> None:
            fraction = copied.done_bytes / max(copied.total_bytes, 1)
            progress.show(f"storing {copied.source.name}", fraction)

        listed = ModelStore(state_home()).create(model.name, model, show)
    n = listed.n_adapters
    adapters = f"{n} adapter" if n == 1 else f"{n} adapters"
    write_text(f"created '{listed.name}' ({adapters}, {size_text(listed.size_bytes)})")
