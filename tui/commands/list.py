"""`tui list`: the models there are."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tui.exit_code import ExitCode
from tui.parser import add_command

if TYPE_CHECKING:
    from modelfiles.library import ListedModel
    from tui.parser import Subparsers

_DESCRIPTION = """\
List the models that were created, newest first, and the demo that comes with the package.
`tui ls` is the same.

ID is the start of the model's digest, SIZE counts its base and its adapters."""

_EXAMPLES = """\
  tui list
  tui list mi              only names that begin with mi
  tui list --json          one JSON list, for scripts"""

_HEADINGS = ("NAME", "ID", "SIZE", "ADAPTERS", "MODIFIED", "ORIGIN")


def add_parser(subparsers: Subparsers) -> None:
    """Add `list` to the commands."""
    parser = add_command(
        subparsers,
        "list",
        run,
        summary="list the models",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        takes_intermixed=True,
    )
    parser.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help="start of the name")
    parser.add_argument(
        "--json",
        action="store_true",
        dest="is_json",
        help="print a list of objects: name, digest, size_bytes, adapters, modified, origin, "
        "problem (null when the model can be used)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the models whose names begin with the prefix, whatever its case."""
    from modelfiles.library import Library
    from modelfiles.paths import state_home
    from tui.output import note, table_lines, warn, write_json, write_text

    prefix = args.prefix.lower()
    models = [m for m in Library(state_home()).list() if m.name.lower().startswith(prefix)]
    if args.is_json:
        write_json([_document(model) for model in models])
        return ExitCode.DONE
    now = datetime.now(UTC)
    write_text("\n".join(table_lines([_HEADINGS, *(_row(model, now) for model in models)])))
    for model in models:
        if model.problem is not None:
            warn(f"{model.name} cannot be used: {model.problem}")
    if not models and args.prefix:
        note(f"No model has a name that begins with '{args.prefix}'.")
    elif not models:
        note("There are no models: 'tui create --help' says how to make one.")
    return ExitCode.DONE


def _row(model: ListedModel, now: datetime) -> tuple[str, ...]:
    from tui.units import age_text, size_text

    return (
        model.name,
        model.digest,
        size_text(model.size_bytes),
        str(model.n_adapters),
        age_text(model.modified, now),
        model.origin,
    )


def _document(model: ListedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "adapters": model.n_adapters,
        "modified": model.modified.isoformat(),
        "origin": model.origin,
        "problem": model.problem,
    }
