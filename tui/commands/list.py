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
List the models there are, newest first: those that were created, the demo that comes with the
package, and those in Ollama's store (OLLAMA_MODELS, else ~/.ollama/models), which is only read.
`tui ls` is the same.

Where two have one name, Ollama's is listed and reached by its full name, such as
registry.ollama.ai/library/demo:latest.

ID is the start of the model's digest, SIZE counts its base and its adapters."""

_EXAMPLES = """\
  tui list
  tui list mi              only names that begin with mi
  tui list --json          one JSON list, for scripts"""

_HEADINGS = ("NAME", "ID", "SIZE", "ADAPTERS", "MODIFIED", "ORIGIN")

_USUAL = "registry.ollama.ai/library/"


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
    from modelfiles.library import open_library
    from tui.output import note, table_lines, warn, write_json, write_text

    prefix = args.prefix.lower()
    library = open_library()
    models = [m for m in library.list() if _is_called(m, prefix)]
    if args.is_json:
        write_json([_document(model) for model in models])
        return ExitCode.DONE
    now = datetime.now(UTC)
    write_text("\n".join(table_lines([_HEADINGS, *(_row(model, now) for model in models)])))
    for model in models:
        if model.problem is not None:
            warn(f"{model.name} cannot be used: {model.problem}")
    for problem in library.problems():
        warn(problem)
    if not models and args.prefix:
        note(f"No model has a name that begins with '{args.prefix}'.")
    elif not models:
        note("There are no models: 'tui create --help' says how to make one.")
    return ExitCode.DONE


def _is_called(model: ListedModel, prefix: str) -> bool:
    """Whether a name begins with the prefix, also without what is usually left out of it."""
    name = model.name.lower()
    return name.startswith(prefix) or name.removeprefix(_USUAL).startswith(prefix)


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
