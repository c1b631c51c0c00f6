"""The commands of `tui`, one module each, with `add_parser(subparsers)` and `run(args)`.

`tui --help` imports every command, so these modules import nothing heavy at the top; each function
imports what it needs.
"""

COMMANDS = (
    "run",
    "create",
    "list",
    "show",
    "cp",
    "rm",
    "convert",
    "inspect",
    "fuse",
    "extract",
    "merge",
    "push",
    "search",
    "pull",
)
"""Command names accepted after `tui`, in the order of its help."""

LONG_WRITERS = ("convert", "fuse", "extract", "merge")
"""Commands that write up to gigabytes, which must not be left behind when they are interrupted."""

ALIASES = {"ls": "list"}
"""Second names; argparse's own aliases would make their lines in `tui --help` wrap."""
