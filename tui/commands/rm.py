"""`tui rm`: models out of the store."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tui.exit_code import ExitCode
from tui.parser import add_command

if TYPE_CHECKING:
    from tui.parser import Subparsers

_DESCRIPTION = """\
Delete models from the store, and the files that no other model uses. The files a model was
created from stay where they are. If one of the names is unknown, nothing is deleted."""

_EXAMPLES = """\
  tui rm mine
  tui rm mine:first mine:second"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `rm` to the commands."""
    parser = add_command(
        subparsers,
        "rm",
        run,
        summary="delete models",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("names", metavar="NAME", nargs="+", help="the models to delete")


def run(args: argparse.Namespace) -> int:
    """Delete the models and say so in Ollama's words."""
    from modelfiles.names import ModelName
    from modelfiles.paths import state_home
    from modelfiles.store import ModelStore
    from tui.output import write_text

    store = ModelStore(state_home())
    names: dict[object, str] = {}
    for name in args.names:
        names.setdefault(ModelName.parse(name).folded, name)
    # The names that the store does not have come first and raise before anything is deleted.
    for name in names.values():
        _require_own(name)
    for name in sorted(names.values(), key=store.has):
        store.remove(name)
        write_text(f"deleted '{name}'")
    return ExitCode.DONE


def _require_own(name: str) -> None:
    """Refuse a model of Ollama, whose store is never changed, with the command that removes it."""
    from modelfiles.errors import OllamaError
    from modelfiles.library import open_library
    from modelfiles.names import ModelName

    if open_library().is_ollamas(name):
        display = ModelName.parse(name).display
        raise OllamaError(
            f"{display} belongs to Ollama, whose store is never changed here:"
            f" 'ollama rm {display}' removes it"
        )
