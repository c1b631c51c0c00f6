"""Find the command, run it and report every error as one sentence."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, TextIO

from engine.errors import EngineError
from modelfiles.errors import ModelfilesError
from tui.commands import ALIASES, COMMANDS, Command
from tui.errors import TuiError, UsageError
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.text.sanitize import printable_line

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_DESCRIPTION = """\
Chat with a local GGUF model and mix a stack of scaled LoRA adapters while you talk.

Without a command, tui shows the models to choose from."""

_EXAMPLES = """\
examples:
  tui run demo                          chat with the bundled demo model
  tui run demo "What is an adapter?"    print one answer
  tui search sql --base mine --fit      find adapters on the Hugging Face Hub
  tui pull hf.co/user/sql-lora          bring one here, for --lora sql-lora
  tui create mine -f Modelfile          make a model from a Modelfile
  tui show mine                         see its base, adapters and parameters
  tui help                              list the pages of the manual

exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tui` with `argv` (by default the program's own arguments); return the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        _let_everything_be_written(stream)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except UsageError as error:
        return _fail(str(error), ExitCode.WRONG_USE)
    except (TuiError, EngineError, ModelfilesError) as error:
        return _fail(str(error), ExitCode.FAILED)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe, as in `tui list | head -1`: no one is left to report to.
        return ExitCode.DONE
    except OSError as error:
        return _fail(_os_error_sentence(error), ExitCode.FAILED)
    finally:
        _settle_stdout()
    return code


def build_parser(name: str | None = None) -> Parser:
    """Return the parser of `tui`; of the commands, only `name` is imported and has arguments."""
    parser = Parser(prog="tui", description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.set_defaults(run=_pick)
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", parser_class=Parser, required=False
    )
    for command in COMMANDS.values():
        subparser = subparsers.add_parser(command.name, help=command.summary)
        if command.name == name:
            module = import_module(command.module)
            module.configure(subparser)
            subparser.set_defaults(run=module.run)
    return parser


class _Version(argparse.Action):
    """Print the version; reads the package's metadata, which takes 10 ms, only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"tui {version('lora-tui')}")
        parser.exit()


def _run(arguments: Sequence[str]) -> int:
    command: Command | None = None
    if arguments and not arguments[0].startswith("-"):
        name = ALIASES.get(arguments[0], arguments[0])
        command = COMMANDS.get(name)
        if command is None:
            raise UsageError(_unknown_command(name))
        arguments = [name, *arguments[1:]]
    try:
        args, unknown = build_parser(command and command.name).parse_known_args(arguments)
    except SystemExit as finished:  # --help and --version end the program by themselves
        return int(finished.code or ExitCode.DONE)
    if unknown:
        # argparse would send the reader to the help of `tui`, which does not list them.
        where = f"tui {command.name}" if command else "tui"
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)} (see '{where} --help')")
    if command and command.is_long_writer:
        from tui.terminal.signals import unwound_by_signals

        with unwound_by_signals():
            return int(args.run(args))
    return int(args.run(args))


def _pick(_: argparse.Namespace) -> int:
    """Run `tui` without a command: list the models to choose from, which needs a terminal."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        build_parser().print_help(sys.stderr)
        return ExitCode.WRONG_USE
    from tui.chat.app import run_picker

    return run_picker()


def _unknown_command(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"the commands are {', '.join(COMMANDS)}."
    return f"There is no command {name!r}: {hint}"


def _os_error_sentence(error: OSError) -> str:
    where = f"'{error.filename}'" if error.filename is not None else "the output"
    if error.errno in _NO_SPACE:
        return f"There is no space left to write {where}: free some and try again."
    reason = error.strerror or str(error) or type(error).__name__
    return f"Cannot read or write {where}: {reason}."


def _fail(sentence: str, code: ExitCode) -> ExitCode:
    """Print one line on stderr that says what went wrong."""
    print(f"Error: {printable_line(sentence)}", file=sys.stderr)
    return code


def _open_missing_streams() -> None:
    """Open the null device for a closed stdout or stderr (`>&-`), for which Python holds None."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # lives to the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # lives to the end


def _let_everything_be_written(stream: TextIO) -> None:
    """Escape what the stream's encoding lacks (file names that are not UTF-8, an ASCII locale)."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _settle_stdout() -> None:
    """Redirect a stdout that cannot be flushed, or Python reports the error again when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
