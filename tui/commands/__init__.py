"""The commands of `tui`, one module each, with `add_parser(subparsers)` and `run(args)`.

Every command is imported for `tui --help`, so their modules import nothing heavy at the top:
what a command works with is imported inside its functions.
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
"""What can stand after `tui`, in the order of its help."""

LONG_WRITERS = ("convert", "fuse", "extract", "merge")
"""Commands that write up to gigabytes, which must not stay behind where they are ended."""

ALIASES = {"ls": "list"}
"""Second names; argparse's own would make their lines in `tui --help` wrap."""
