"""`tui rm`: delete models from the store, and pulled adapters from the list."""

from __future__ import annotations

import argparse

from engine.hub.pull.release import release_adapter
from modelfiles.errors import (
    ModelNameError,
    ModelNotFoundError,
    OllamaError,
    ReferenceNotFoundError,
)
from modelfiles.library import open_library
from modelfiles.references.model_name import ModelName
from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters
from modelfiles.state.home import state_home
from modelfiles.store.created import ModelStore
from tui.errors import UsageError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_text

_DESCRIPTION = """\
Delete models from the store, and the files that no other model uses. The files a model was
created from stay where they are. If one of the names is unknown, nothing is deleted.

A name that no model has may be that of a pulled adapter: it is forgotten, and its file stays in the
Hub's cache, which other programs share. --files removes it there too, unless another pulled adapter
uses it."""

_EXAMPLES = """\
  tui rm mine
  tui rm mine:first mine:second
  tui rm sql-lora --files      a pulled adapter, with its file"""


def configure(parser: Parser) -> None:
    """Describe `rm` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument(
        "names", metavar="NAME", nargs="+", help="the models or pulled adapters to delete"
    )
    parser.add_argument(
        "--files",
        action="store_true",
        dest="has_files",
        help="remove the files of pulled adapters from the Hub's cache too",
    )


def run(args: argparse.Namespace) -> int:
    """Delete the models, confirmed in Ollama's words, and forget the pulled adapters."""
    home = state_home()
    store, pulled = ModelStore(home), PulledAdapters(home)
    names: dict[object, str] = {}
    adapters: dict[str, PulledAdapter] = {}
    for name in args.names:
        record = _adapter(name, store, pulled)
        if record is not None:
            adapters[record.name] = record
        else:
            names.setdefault(ModelName.parse(name).folded, name)
    if args.has_files and names:
        raise UsageError(
            f"--files is for pulled adapters, and '{next(iter(names.values()))}' is none."
        )
    # Names that the store lacks are removed first, and raise before anything is deleted.
    for name in names.values():
        _require_own(name)
    for name in sorted(names.values(), key=store.has):
        try:
            store.remove(name)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(
                f"{error}; neither is a pulled adapter of that name ('tui list --adapters')"
            ) from error
        write_text(f"deleted '{name}'")
    for record in adapters.values():
        pulled.remove(record.name)
        write_text(f"deleted the pulled adapter '{record.name}'")
    for record in adapters.values():
        _tell_of_files(record, pulled, has_files=args.has_files)
    return ExitCode.DONE


def _adapter(name: str, store: ModelStore, pulled: PulledAdapters) -> PulledAdapter | None:
    """Return the pulled adapter of this name; None if there is none, or a model has the name."""
    try:
        record = pulled.get(name)
    except ReferenceNotFoundError:
        return None
    try:
        return None if store.has(name) else record
    except ModelNameError:  # not a valid model name
        return record


def _tell_of_files(record: PulledAdapter, pulled: PulledAdapters, *, has_files: bool) -> None:
    """Remove the files of a deleted pulled adapter if asked to, and print what happens to them."""
    if not record.is_there:
        return
    if not has_files:
        note(f"Its file stays in the Hub's cache, {record.path}; --files removes it there too.")
        return
    users = [other.name for other in pulled.list() if other.path == record.path]
    if users:
        note(f"Its file stays: {users[0]} lies there too.")
        return
    release_adapter(record)
    write_text(f"removed {record.path}")


def _require_own(name: str) -> None:
    """Refuse a model in Ollama's store, which is never changed, and name the removal command."""
    if open_library().is_ollamas(name):
        display = ModelName.parse(name).display
        raise OllamaError(
            f"{display} belongs to Ollama, whose store is never changed here:"
            f" 'ollama rm {display}' removes it"
        )
