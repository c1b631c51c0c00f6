"""The argument parser of every command: errors are raised, options may stand anywhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tui.errors import UsageError

if TYPE_CHECKING:
    # argparse gives this class no public name; a command needs it only as an annotation.
    Subparsers = argparse._SubParsersAction["Parser"]

Run = Callable[[argparse.Namespace], int]
"""The function of a command: takes its arguments and returns the exit code."""


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` instead of ending the program.

    With `takes_intermixed`, options may stand between positional arguments: plain argparse takes
    `run demo --json Hello` for a model without a prompt, followed by a stray word.
    """

    def __init__(self, *args: Any, takes_intermixed: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self._splits_positionals = takes_intermixed

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with argparse's sentence and a pointer to the help."""
        raise UsageError(f"{message} (see '{self.prog} --help')")

    # The namespace's type is a free variable in argparse's stubs, so it stays open here.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse as argparse does; with `takes_intermixed`, options may stand anywhere."""
        if not self._splits_positionals:
            return super().parse_known_args(args, namespace)
        self._splits_positionals = False  # Python 3.11's intermixed parsing calls back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._splits_positionals = True


def add_command(
    subparsers: Subparsers,
    name: str,
    run: Run,
    *,
    summary: str,
    description: str,
    examples: str,
    **options: Any,
) -> Parser:
    """Add a command to `tui` and return its parser, to which the caller adds the arguments.

    `summary` is its line in `tui --help`; `description` and `examples` make up its own help.
    """
    parser: Parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        **options,
    )
    parser.set_defaults(run=run)
    return parser
