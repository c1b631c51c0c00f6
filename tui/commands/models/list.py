"""`tui list`: list the models, or the pulled adapters."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from modelfiles.library import ListedModel, open_library
from tui.commands.hub.pulled_table import adapter_document, adapter_table, pulled_records
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, warn, write_json, write_text
from tui.text.tables import table_lines
from tui.text.units import age_text, size_text

_DESCRIPTION = """\
List the models there are, newest first: those that were created, the demo that comes with the
package, and those in Ollama's store (OLLAMA_MODELS, else ~/.ollama/models), which is only read.
`tui ls` is the same.

Where two have one name, Ollama's is listed and reached by its full name, such as
registry.ollama.ai/library/demo:latest.

ID is the start of the model's digest, SIZE counts its base and its adapters.

With --adapters, the adapters that 'tui pull' brought: their names are what --lora and ADAPTER take,
and SIZE says "gone" where the file no longer lies in the cache."""

_EXAMPLES = """\
  tui list
  tui list mi              only names that begin with mi
  tui list --adapters      the adapters that were pulled
  tui list --json          one JSON list, for scripts"""

_HEADINGS = ("NAME", "ID", "SIZE", "ADAPTERS", "MODIFIED", "ORIGIN")

_USUAL = "registry.ollama.ai/library/"


def configure(parser: Parser) -> None:
    """Describe `list` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES, takes_intermixed=True)
    parser.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help="start of the name")
    parser.add_argument(
        "--adapters",
        action="store_true",
        dest="has_adapters",
        help="list the adapters that were pulled instead",
    )
    parser.add_json_option(
        "print a list of objects: name, digest, size_bytes, adapters, modified, origin, "
        "problem (null when the model can be used); with --adapters name, kind, size_bytes, "
        "base_models, repository, revision, file, reference, path, pulled, is_there"
    )


def run(args: argparse.Namespace) -> int:
    """Print the models or adapters whose names begin with the prefix, ignoring case."""
    if args.has_adapters:
        return _list_adapters(args)

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


def _list_adapters(args: argparse.Namespace) -> int:
    records = pulled_records(args.prefix)
    if args.is_json:
        write_json([adapter_document(record) for record in records])
        return ExitCode.DONE
    write_text(adapter_table(records))
    if not records and args.prefix:
        note(f"No pulled adapter has a name that begins with '{args.prefix}'.")
    elif not records:
        note("No adapters were pulled: 'tui search' finds some, 'tui pull' brings one.")
    return ExitCode.DONE


def _is_called(model: ListedModel, prefix: str) -> bool:
    """Return whether a name, with or without Ollama's usual host and namespace, has the prefix."""
    name = model.name.lower()
    return name.startswith(prefix) or name.removeprefix(_USUAL).startswith(prefix)


def _row(model: ListedModel, now: datetime) -> tuple[str, ...]:
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
