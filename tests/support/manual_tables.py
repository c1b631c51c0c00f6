"""Writes the tables of the manual that the program knows: keys, commands, parameters, settings.

    python -m tests.support.manual_tables

replaces what stands in the pages between `<!-- NAME: … -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path

import tui.manual
from modelfiles.parameters import OWN
from tui.chat.keys.all_keys import KEYS
from tui.chat.keys.key import Place
from tui.chat.prompt.slash.table import TABLE
from tui.commands import COMMANDS
from tui.settings import SETTINGS
from tui.terminal.arguments import Parser

MANUAL = Path(tui.manual.__file__).parent
_PART = re.compile(
    r"(<!-- ([a-z ]+): made from [^\n]* -->\n)(.*?)(<!-- end of \2 -->\n)", re.DOTALL
)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def own_parameters() -> str:
    return table(("parameter", "sets"), ((f"`{name}`", sets) for name, sets in OWN.items()))


def keys() -> str:
    rows = [
        (place.value.lower(), key.label, key.description)
        for place in (Place.CHAT, Place.PROMPT, Place.RACK)
        for key in KEYS
        if key.place is place
    ]
    return table(("where", "key", "does"), rows)


def commands_of_the_chat() -> str:
    rows = []
    for row in TABLE:
        alias = f" or `{row.alias}`" if row.alias else ""
        rows.append((f"`{row.usage}`{alias}", row.description))
    return table(("command", "does"), rows)


def settings() -> str:
    rows = [(f"`{s.key}`", s.values, s.default, s.description) for s in SETTINGS]
    return table(("setting", "values", "default", "what it does and costs"), rows)


def commands() -> str:
    """Return a section for each command: what it does, its arguments and options, examples."""
    listed = table(
        ("command", "does"), ((f"`tui {each.name}`", each.summary) for each in COMMANDS.values())
    )
    return "\n".join([listed, *(_section(name, parser_of(name)) for name in COMMANDS)])


def parser_of(name: str) -> Parser:
    """Return the parser of a command."""
    parser = Parser(prog=f"tui {name}")
    import_module(COMMANDS[name].module).configure(parser)
    return parser


def options_of(parser: Parser) -> list[argparse.Action]:
    """Return the arguments of a command, and its options but `--help`."""
    actions = [each for each in parser._actions if not isinstance(each, argparse._HelpAction)]
    return sorted(actions, key=lambda action: bool(action.option_strings))


def _section(name: str, parser: Parser) -> str:
    actions = options_of(parser)
    needed = [_needed(action) for action in actions if not action.option_strings or action.required]
    rows = [(f"`{_written(action)}`", _help(parser, action)) for action in actions]
    examples = (parser.epilog or "").partition("\n")[2].removeprefix("  ").replace("\n  ", "\n")
    return (
        f"## tui {name}\n\n`{' '.join(['tui', name, *needed])}`\n\n{parser.description}\n\n"
        f"{table(('argument or option', 'is'), rows)}\n```sh\n{examples}\n```\n"
    )


def _needed(action: argparse.Action) -> str:
    """Return an argument as the usage line writes it, or an option that cannot be left out."""
    if action.option_strings:
        return f"{action.option_strings[0]} {action.metavar}"
    forms = {"?": "[{}]", "*": "[{} ...]", "+": "{} ..."}
    return forms.get(str(action.nargs), "{}").format(action.metavar)


def _written(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar)
    value = "" if action.nargs == 0 else _value(action)
    return ", ".join(action.option_strings) + (f" {value}" if value else "")


def _value(action: argparse.Action) -> str:
    if action.metavar is not None:
        return str(action.metavar)
    return "{" + ",".join(map(str, action.choices or ())) + "}"


def _help(parser: Parser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "commands of the chat": commands_of_the_chat,
    "keys": keys,
    "own parameters": own_parameters,
    "settings": settings,
}


def names_of_parts(page: str) -> list[str]:
    """Return the names of the generated parts of a page."""
    return [match[2] for match in _PART.finditer(page)]


def rewritten(page: str) -> str:
    """Return a page with its generated parts as they have to be."""
    return _PART.sub(lambda match: match[1] + PARTS[match[2]]() + match[4], page)


def main() -> None:
    """Rewrite the pages."""
    for path in sorted(MANUAL.glob("*.md")):
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
