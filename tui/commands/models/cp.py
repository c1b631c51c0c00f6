"""`tui cp`: copy a model to a second name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tui.terminal.arguments import add_command
from tui.terminal.exit_code import ExitCode

if TYPE_CHECKING:
    from tui.terminal.arguments import Subparsers

_DESCRIPTION = """\
Copy a model to another name. Both share their files, so the copy takes no space; a model that
already has the name is replaced."""

_EXAMPLES = """\
  tui cp mine mine:before-tuning"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `cp` to the commands."""
    parser = add_command(
        subparsers,
        "cp",
        run,
        summary="copy a model to another name",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("source", metavar="SOURCE", help="the model to copy")
    parser.add_argument("target", metavar="TARGET", help="the name of the copy")


def run(args: argparse.Namespace) -> int:
    """Copy the model and confirm it in Ollama's words."""
    from modelfiles.library import open_library
    from modelfiles.state.home import state_home
    from modelfiles.store.created import ModelStore
    from tui.terminal.output import write_text

    found = open_library().find(args.source)
    store = ModelStore(state_home())
    if found.origin == "ollama":
        store.create(args.target, found.model)
    else:
        store.copy(args.source, args.target)
    write_text(f"copied '{args.source}' to '{args.target}'")
    return ExitCode.DONE
