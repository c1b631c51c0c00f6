"""`tui show`: show what a model is made of."""

from __future__ import annotations

import argparse

from engine.adapters.read import read_adapter
from engine.gguf.base_facts import read_base_facts
from modelfiles.demo import BASE, CARD
from modelfiles.errors import naming
from modelfiles.language.modelfile import generated_text
from modelfiles.model import Model
from tui.commands.model_option import MODEL_HELP, named_model
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_json, write_source, write_text
from tui.text.model_page import document, overview, parameter_rows
from tui.text.plain_markdown import plain_text

_DESCRIPTION = """\
Show a model: its base, adapters, parameters, system message and license. For the demo, its
card follows: what was trained how, and what breaks. One option at most picks a single part."""

_EXAMPLES = """\
  tui show demo
  tui show mine --modelfile > Modelfile
  tui show mine --json"""

_PARTS = {
    "modelfile": "print a Modelfile that makes the same model",
    "parameters": "print the parameters",
    "system": "print the system message",
    "template": "print the chat template: the model's own, else its base's",
    "license": "print the license",
    "json": "print one JSON document with everything",
}


def configure(parser: Parser) -> None:
    """Describe `show` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument("name", metavar="NAME|GGUF", help=MODEL_HELP)
    parts = parser.add_mutually_exclusive_group()
    for part, summary in _PARTS.items():
        parts.add_argument(f"--{part}", action="store_const", const=part, dest="part", help=summary)


def run(args: argparse.Namespace) -> int:
    """Print the overview of the model, or the one part that was asked for."""
    model = named_model(args.name)
    if args.part == "modelfile":
        write_source(generated_text(model))
        return ExitCode.DONE
    with naming(model.names):
        if args.part is None or args.part == "json":
            _show_all(model, is_json=args.part == "json")
            return ExitCode.DONE
        text = _part_text(model, args.part)
    write_text(text)
    if not text:
        note(f"{model.name} has no {args.part} of its own.")
    return ExitCode.DONE


def _part_text(model: Model, part: str) -> str:
    if part == "parameters":
        return "\n".join(f"{name:<30} {value}" for name, value in parameter_rows(model.parameters))
    if part == "template":
        return model.template or read_base_facts(model.base).chat_template or ""
    return model.system or "" if part == "system" else "\n\n".join(model.licenses)


def _show_all(model: Model, *, is_json: bool) -> None:
    base = read_base_facts(model.base)
    adapters = [read_adapter(spec.path, spec.name) for spec in model.adapters]
    if is_json:
        write_json(document(model, base, adapters))
    else:
        write_text(overview(model, base, adapters, _card(model)))


def _card(model: Model) -> str | None:
    """Return the demo's card as plain text, or None if the model is not based on the demo."""
    return plain_text(CARD.read_text(encoding="utf-8")) if model.base == BASE else None
