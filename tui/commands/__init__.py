"""The table of commands: a name, the module that does it, and its line in `tui --help`.

A command's module has `configure(parser)` and `run(args)`. It is imported when its command is
asked for, so it imports what it works with at its top.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Command(NamedTuple):
    """One command of `tui`."""

    name: str
    module: str
    summary: str
    """Its line in `tui --help`."""
    is_long_writer: bool = False
    """Whether it writes up to gigabytes, which must not stay behind when a signal ends it."""


COMMANDS: Final[dict[str, Command]] = {
    command.name: command
    for command in (
        Command("run", "tui.commands.run.run", "chat with a model, or print one answer"),
        Command("create", "tui.commands.models.create", "create a model from a Modelfile"),
        Command("list", "tui.commands.models.list", "list the models, or the pulled adapters"),
        Command("show", "tui.commands.models.show", "show what a model is made of"),
        Command("cp", "tui.commands.models.cp", "copy a model to another name"),
        Command("rm", "tui.commands.models.rm", "delete models and pulled adapters"),
        Command(
            "convert",
            "tui.commands.adapters.convert",
            "convert a PEFT or MLX adapter to GGUF",
            is_long_writer=True,
        ),
        Command(
            "inspect",
            "tui.commands.inspect.inspect",
            "show what an adapter changes, and whether two get along",
        ),
        Command(
            "fuse",
            "tui.commands.adapters.fuse",
            "write a stack of adapters as one adapter",
            is_long_writer=True,
        ),
        Command(
            "extract",
            "tui.commands.adapters.extract",
            "make an adapter of the difference of two models",
            is_long_writer=True,
        ),
        Command(
            "merge",
            "tui.commands.adapters.merge",
            "bake a model's adapters into one GGUF",
            is_long_writer=True,
        ),
        Command("push", "tui.commands.hub.push", "publish an adapter on the Hugging Face Hub"),
        Command("search", "tui.commands.hub.search", "search the Hugging Face Hub for adapters"),
        Command("pull", "tui.commands.hub.pull", "download an adapter or a model of the Hub"),
        Command("help", "tui.commands.help", "show the manual"),
    )
}
"""What can stand after `tui`, in the order of its help."""

ALIASES: Final = {"ls": "list"}
"""Second names; argparse's own would make their lines in `tui --help` wrap."""
