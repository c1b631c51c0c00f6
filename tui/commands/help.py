"""`tui help`: show the manual, and the help of the other commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from shutil import get_terminal_size
from typing import Final

from modelfiles.wording import nearest, quoted
from tui.commands import ALIASES, COMMANDS
from tui.errors import UsageError
from tui.manual import ALSO, TOPICS, page, topics
from tui.terminal.arguments import Parser
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import write_text
from tui.terminal.pager import page_text
from tui.text.tables import wrapped

_DESCRIPTION = """\
Show a page of the manual, or what 'tui COMMAND --help' shows. Without TOPIC, list the topics and
the commands.

On a terminal the page opens in $PAGER, else in less; in a pipe it is plain Markdown. F1 in the chat
shows the same pages."""

_EXAMPLES = """\
  tui help
  tui help gpus
  tui help fuse
  tui help measurements > measurements.md"""

_WIDEST: Final = 100
"""Cells of a line, however wide the terminal is: longer ones are hard to read."""
_NAME_WIDTH: Final = 16


def configure(parser: Parser) -> None:
    """Describe `help` and add its argument."""
    parser.describe(_DESCRIPTION, _EXAMPLES)
    parser.add_argument("topic", metavar="TOPIC", nargs="?", help="a topic or a command")


def run(args: argparse.Namespace) -> int:
    """Show the page, the command's help, or the list of both."""
    if args.topic is None:
        _list_all()
        return ExitCode.DONE
    found = page(args.topic)
    if found is not None:
        _show(found.text)
        return ExitCode.DONE
    command = COMMANDS.get(ALIASES.get(args.topic.lower(), args.topic.lower()))
    if command is None:
        raise _unknown(args.topic)
    parser = Parser(prog=f"tui {command.name}")
    import_module(command.module).configure(parser)
    write_text(parser.format_help().rstrip("\n"))
    return ExitCode.DONE


def _list_all() -> None:
    lines = [
        "topics:",
        *_rows((page.topic, page.summary) for page in topics()),
        "",
        "commands:",
        *_rows((command.name, command.summary) for command in COMMANDS.values()),
        "",
        "'tui help TOPIC' shows a page, 'tui help COMMAND' the options of a command.",
    ]
    write_text("\n".join(lines))


def _rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    width = min(get_terminal_size().columns, _WIDEST)
    for name, summary in rows:
        first, *rest = wrapped(summary, width - _NAME_WIDTH)
        yield f"  {name:<{_NAME_WIDTH - 2}}{first}"
        yield from (" " * _NAME_WIDTH + line for line in rest)


def _show(text: str) -> None:
    """Write Markdown as it is into a pipe, and laid out into a terminal's pager."""
    if not sys.stdout.isatty():
        write_text(text)
        return
    # Takes longer to import than the rest of the command to run.
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.width = min(console.width, _WIDEST)
    with console.capture() as shown:
        console.print(Markdown(text, hyperlinks=False))
    if console.is_dumb_terminal:
        sys.stdout.write(shown.get())
    else:
        page_text(shown.get())


def _unknown(name: str) -> UsageError:
    close = nearest(name, (*TOPICS, *ALSO, *COMMANDS))
    hint = f"did you mean '{close}'?" if close else "'tui help' lists what there is."
    return UsageError(f"There is no topic and no command {quoted(name)}: {hint}")
