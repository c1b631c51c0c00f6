"""`tui pull`: download an adapter or a base model of the Hugging Face Hub."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

from engine.errors import HubError
from engine.hub.client.errors import is_unreachable
from engine.hub.client.gguf_files import listing
from engine.hub.pull.adapter import RemoteAdapter, known_adapter, pull_adapter
from engine.hub.pull.fetch import missing_files
from engine.hub.pull.model import RemoteModel, look_up_either, pull_model
from engine.hub.search.fit import Verdict, fit_of
from modelfiles.errors import ModelfilesError
from modelfiles.library import open_library
from modelfiles.references.hub import HubReference
from modelfiles.references.pulled_adapters import PulledAdapters
from modelfiles.state.home import state_home
from tui.commands.base_option import BASE, Base, named_base
from tui.commands.hub.pull_report import Told, adapter_told, model_told
from tui.errors import TuiError, UsageError
from tui.terminal.arguments import Parser
from tui.terminal.ask import has_terminal, is_answered_yes
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_json, write_text
from tui.terminal.progress import Progress
from tui.text.units import size_text

_DESCRIPTION = """\
Download an adapter (GGUF, PEFT or MLX) or a base model (GGUF) of the Hugging Face Hub. Which of the
two a GGUF file is, its header says before it is downloaded.

An adapter gets a short name, for `--lora`, for ADAPTER in a Modelfile and for the chat; PEFT and
MLX are converted when they are used. A base model is created under its reference, such as
hf.co/user/repo:Q4_K_M; where no quantisation is named, Q4_K_M is taken, else the smallest of four
bits and more.

With --base the adapter's header is held against that base first, and one that does not fit is
downloaded only with --yes. From 1 GB on a terminal is asked before; --yes answers that too.

Files lie in the cache of the Hub's own programs (HF_HOME) and are shared with them. A second pull
of the same revision downloads nothing. Ctrl+C leaves nothing half."""

_EXAMPLES = """\
  tui pull hf.co/user/sql-lora --base mine
  tui pull hf.co/user/loras:formal.gguf
  tui pull hf.co/user/model-GGUF:Q8_0
  tui pull hf.co/user/model-GGUF --yes --json"""

ASKS_FROM_BYTES: Final = 10**9
_SAID_FROM_BYTES: Final = 10**8
# A repository as 'tui search' prints it, without the address in front.
_REPOSITORY: Final = re.compile(r"\w[\w.-]*/[\w.-]+(:.+)?", re.ASCII)


def configure(parser: Parser) -> None:
    """Describe `pull` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES, takes_intermixed=True)
    parser.add_argument(
        "reference",
        metavar="REF",
        help="hf.co/user/repo, with :file, :folder or :quantisation where it holds several",
    )
    parser.add_argument(
        "--base",
        metavar=BASE,
        help="the base the adapter is to fit: a model, or its GGUF file",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        dest="is_agreed",
        help="ask nothing, and download what does not fit",
    )
    parser.add_json_option(
        "print one object: type (adapter or model), name, path, size_bytes, is_new, "
        "reference, revision; of an adapter also kind, file, base_models, fit, reason"
    )


def run(args: argparse.Namespace) -> int:
    """Look the reference up, ask before a large download, download, and print the next step."""
    reference = _reference(args.reference)
    base = named_base(args.base) if args.base is not None else None
    home = state_home()
    try:
        remote = look_up_either(reference, home)
    except HubError as error:
        told = _what_is_here(reference, home, base) if is_unreachable(error) else None
        if told is None:
            raise
    else:
        if isinstance(remote, RemoteAdapter):
            told = _pull_adapter(reference, remote, base, home, args)
        elif base is not None:
            raise TuiError(
                f"{remote.name} is a model, and --base is for adapters: "
                + (f"name {_listing(remote)}." if remote.adapters else "leave it out.")
            )
        else:
            told = _pull_model(reference, remote, home, args)
    document, lines = told
    if args.is_json:
        write_json(document)
    else:
        write_text("\n".join(lines))
    return ExitCode.DONE


def _reference(text: str) -> HubReference:
    try:
        reference = HubReference.parse(text, "adapter")
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if reference is None:
        meant = f"hf.co/{text}" if _REPOSITORY.fullmatch(text) else "hf.co/user/repo"
        raise UsageError(
            f"'{text}' is no reference to the Hugging Face Hub: write {meant}, or "
            f"{meant.partition(':')[0]}:<file> ('tui search' finds them)."
        )
    return reference


def _pull_adapter(
    reference: HubReference,
    remote: RemoteAdapter,
    base: Base | None,
    home: Path,
    args: argparse.Namespace,
) -> Told:
    fit = None
    if base is not None:
        fit = fit_of(remote.repo, remote.choice, remote.revision, base.header)
        if fit.verdict is Verdict.MISFIT and not args.is_agreed:
            raise TuiError(
                f"{reference.display} does not fit {base.shown}. {fit.reason} Nothing was "
                "downloaded; --yes downloads it all the same."
            )
        if fit.verdict is not Verdict.FITS:
            note(f"{reference.display} and {base.shown}: {fit.verdict}. {fit.reason}")
    before = PulledAdapters(home).find(remote.repo, remote.choice.weights.path)
    _announce(reference.display, remote, args)
    with Progress() as progress:
        title = f"downloading {reference.display}"
        record = pull_adapter(
            reference,
            home,
            remote=remote,
            on_bytes=lambda done, total: progress.show_bytes(title, done, total),
        )
    if record.notice:
        note(record.notice)
    return adapter_told(record, base, fit, is_new=record != before)


def _pull_model(
    reference: HubReference, remote: RemoteModel, home: Path, args: argparse.Namespace
) -> Told:
    _announce(reference.display, remote, args)
    with Progress() as progress:
        pulled = pull_model(
            remote,
            home,
            on_bytes=lambda done, total: progress.show_bytes(
                f"downloading {remote.name}", done, total
            ),
            on_store=lambda copied: progress.show_bytes(
                f"storing {remote.name}", copied.done_bytes, copied.total_bytes
            ),
        )
    if remote.adapters:
        note(f"Beside the model there is {_listing(remote)}.")
    return model_told(
        pulled.listed.name,
        pulled.base,
        pulled.listed.size_bytes,
        remote.revision,
        is_new=pulled.is_new,
    )


def _listing(remote: RemoteModel) -> str:
    """Return the references of the adapters in the model's repository."""
    return listing(remote.adapters)


def _announce(shown: str, remote: RemoteAdapter | RemoteModel, args: argparse.Namespace) -> None:
    """Note the size of a large download, and ask at a terminal before a very large one."""
    files = remote.choice.files if isinstance(remote, RemoteAdapter) else remote.files
    missing = missing_files(remote.repo, remote.revision, files)
    n_bytes = sum(file.size_bytes for file in missing)
    is_asked = n_bytes >= ASKS_FROM_BYTES and not args.is_agreed and has_terminal()
    if not is_asked:
        if n_bytes >= _SAID_FROM_BYTES:
            note(f"{shown} is {size_text(n_bytes)} to download.")
        return
    if not is_answered_yes(f"Download {size_text(n_bytes)} of {shown}?"):
        raise TuiError("Nothing was downloaded: answer y, or give --yes.")


def _what_is_here(reference: HubReference, home: Path, base: Base | None) -> Told | None:
    """Return what was pulled before, for when the Hub is unreachable; None if nothing was."""
    sentence = "The Hugging Face Hub cannot be asked: this is what was pulled before."
    record = known_adapter(reference, PulledAdapters(home))
    if record is not None:
        note(sentence)
        return adapter_told(record, base, None, is_new=False)
    try:
        model = open_library().get(reference.display)
    except ModelfilesError:  # not here, or damaged: the Hub's own error is reported
        return None
    note(sentence)
    return model_told(model.name, model.base, model.base.stat().st_size, None, is_new=False)
