"""`tui search`: find adapters on the Hugging Face Hub, by words and by the base they fit."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence

from engine.errors import HubError
from engine.hub.client.errors import is_unreachable
from engine.hub.search.base_names import BaseIdentity, identity_of
from engine.hub.search.search import MAX_ALIASES, search_adapters
from modelfiles.references.hub import without_host
from tui.commands.base_option import BASE, Base, named_base
from tui.commands.hub.found_table import FoundTable, document
from tui.commands.hub.judged import Found, judged
from tui.commands.hub.pulled_table import adapter_table, pulled_records
from tui.errors import TuiError, UsageError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_json, write_text

_DESCRIPTION = """\
Search the Hugging Face Hub for adapters. With --base, those are shown whose cards name that base
as what they were trained on, under the names its GGUF file gives and their usual copies (Unsloth's,
in 4 bits, plain and instruct); QUERY may then be left out. Without, whatever is tagged as a LoRA.

--fit fetches the beginning of every adapter found, a few KB, and says whether it fits the base:
nothing else is downloaded. 'tui pull hf.co/REPOSITORY' brings one here.

DOWNLOADS are those of the last 30 days, SIZE counts all files of the repository. The token is
found where the Hub's own programs keep it (HF_TOKEN, 'hf auth login'); HF_ENDPOINT names another
server. A narrow terminal is shown fewer columns; a file or a pipe gets all of them."""

_EXAMPLES = """\
  tui search sql --base mine
  tui search --base ./base.gguf --sort likes --limit 10
  tui search "formal letters" --base mine --fit
  tui search pirate --json"""

DEFAULT_LIMIT = 30
MAX_LIMIT = 1000


def configure(parser: Parser) -> None:
    """Describe `search` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES, takes_intermixed=True)
    parser.add_argument(
        "query", metavar="QUERY", nargs="*", default=[], help="words of the repository's name"
    )
    parser.add_argument(
        "--base", metavar=BASE, help="show adapters of this base: a model, or its GGUF file"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=int,
        default=DEFAULT_LIMIT,
        help=f"show at most N, 1 to {MAX_LIMIT} (default: {DEFAULT_LIMIT})",
    )
    parser.add_argument(
        "--sort",
        choices=("downloads", "likes", "recent"),
        default="downloads",
        help="what comes first (default: downloads)",
    )
    parser.add_argument(
        "--fit",
        action="store_true",
        dest="is_judged",
        help="say of each whether it fits the base of --base",
    )
    parser.add_json_option(
        "print a list of objects: repository, kind, downloads, likes, modified, size_bytes, "
        "license, gated, private, base_models, revision, fit (null without --fit), reason"
    )


def run(args: argparse.Namespace) -> int:
    """Print each adapter found as it arrives."""
    query = _words(args.query)
    _require_sense(args, query)
    base = named_base(args.base) if args.base is not None else None
    identity = identity_of(base.header) if base is not None else None
    if identity is not None and base is not None:
        note(_asked_for(identity, base, query))
    found: list[Found] = []
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    table = FoundTable(args.is_judged, columns)
    try:
        rows = judged(
            _repositories(query, identity, args), base.header if args.is_judged and base else None
        )
        for row in rows:
            if not args.is_json:
                write_text((f"{table.heading()}\n" if not found else "") + table.row(row))
                sys.stdout.flush()
            found.append(row)
    except HubError as error:
        _show_what_is_here(error, is_json=args.is_json)
        raise
    if args.is_json:
        write_json([document(row) for row in found])
    if not found:
        note(_nothing(identity, query))
    elif len(found) == args.limit < MAX_LIMIT:
        note(f"No more than {args.limit} are shown: a larger --limit shows what else there is.")
    return ExitCode.DONE


def _words(query: Sequence[str]) -> str:
    """Return the words to search for; of a repository's address, only its owner and name."""
    return without_host(" ".join(query).strip())


def _require_sense(args: argparse.Namespace, query: str) -> None:
    if not query and args.base is None:
        raise UsageError(
            "Name what to search for: a word, or a base with --base (see 'tui search --help')."
        )
    if not 1 <= args.limit <= MAX_LIMIT:
        raise UsageError(f"--limit must be between 1 and {MAX_LIMIT}, not {args.limit}.")
    if args.is_judged and args.base is None:
        raise UsageError("--fit needs the base that adapters are to fit: name it with --base.")


def _repositories(
    query: str, identity: BaseIdentity | None, args: argparse.Namespace
) -> Iterator[Found]:
    repositories = search_adapters(query, identity, limit=args.limit, sort=args.sort)
    return (Found(repository) for repository in repositories)


def _asked_for(identity: BaseIdentity, base: Base, query: str) -> str:
    """Return a note on which names of a base are searched for, or on the lack of them.

    Raises `TuiError` if the base has no names and there are no words either.
    """
    names = identity.repositories[:MAX_ALIASES]
    if names:
        others = f" and {len(names) - 1} names of its copies" if len(names) > 1 else ""
        return f"These are adapters of {names[0]}{others}."
    if not query:
        raise TuiError(
            f"{base.shown} does not say which repository of the Hub it was made from: add words "
            "to search for."
        )
    return (
        f"{base.shown} does not say which repository of the Hub it was made from: the search is "
        "by words alone."
    )


def _nothing(identity: BaseIdentity | None, query: str) -> str:
    """Return a sentence on what to try when nothing was found."""
    if identity is None or not identity.repositories:
        return (
            f"Nothing tagged as a LoRA has '{query}' in its name: try fewer or other words, or "
            "--base with a model to see all adapters of it."
        )
    if query:
        return (
            f"No adapter of {identity.repositories[0]} has '{query}' in its name: try other "
            "words, leave them out to see all of them, or leave --base out to search by words."
        )
    return (
        f"The Hub knows no adapter of {identity.repositories[0]}: leave --base out and search by "
        "words, such as the model's name."
    )


def _show_what_is_here(error: HubError, *, is_json: bool) -> None:
    """List the pulled adapters if the Hub is unreachable."""
    records = pulled_records() if not is_json and is_unreachable(error) else ()
    if records:
        note("The Hugging Face Hub cannot be asked: these adapters were pulled before.")
        write_text(adapter_table(records))
