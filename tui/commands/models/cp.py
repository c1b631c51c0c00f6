"""`tui cp`: copy a model to a second name."""

from __future__ import annotations

import argparse

from modelfiles.library import open_library
from modelfiles.state.home import state_home
from modelfiles.store.created import ModelStore
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import write_text

_DESCRIPTION = """\
Copy a model to another name. Both share their files, so the copy takes no space; a model that
already has the name is replaced."""

_EXAMPLES = """\
  tui cp mine mine:before-tuning"""


def configure(parser: Parser) -> None:
    """Describe `cp` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument("source", metavar="SOURCE", help="the model to copy")
    parser.add_argument("target", metavar="TARGET", help="the name of the copy")


def run(args: argparse.Namespace) -> int:
    """Copy the model and confirm it in Ollama's words."""
    found = open_library().find(args.source)
    store = ModelStore(state_home())
    if found.origin == "ollama":
        store.create(args.target, found.model)
    else:
        store.copy(args.source, args.target)
    write_text(f"copied '{args.source}' to '{args.target}'")
    return ExitCode.DONE
