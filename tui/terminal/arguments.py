"""The argument parser of every command: errors are raised, options may stand anywhere."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from tui.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` instead of ending the program.

    Where `describe` says so, options may stand between positional arguments: plain argparse takes
    `run demo --json Hello` for a model without a prompt, followed by a stray word.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self._splits_positionals = False

    def describe(self, description: str, examples: str, *, takes_intermixed: bool = False) -> None:
        """Set what `--help` prints around the arguments, and whether those may be intermixed."""
        self.description = description
        self.epilog = f"examples:\n{examples}"
        self._splits_positionals = takes_intermixed

    def add_json_option(self, what: str) -> None:
        """Take `--json` as `is_json`."""
        self.add_argument("--json", action="store_true", dest="is_json", help=what)

    def add_output_option(self, what: str) -> None:
        """Require `--output`."""
        self.add_argument("-o", "--output", metavar="OUT", required=True, help=what)

    def add_force_option(self, more: str = "") -> None:
        """Take `--force` as `is_forced`."""
        what = f"replace OUT if it is there{more}"
        self.add_argument("--force", action="store_true", dest="is_forced", help=what)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with argparse's sentence and a pointer to the help."""
        raise UsageError(f"{message} (see '{self.prog} --help')")

    # The namespace's type is a free variable in argparse's stubs, so it stays open here.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse as argparse does, or with options anywhere where `describe` said so."""
        if not self._splits_positionals:
            return super().parse_known_args(args, namespace)
        self._splits_positionals = False  # Python 3.11's intermixed parsing calls back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._splits_positionals = True
