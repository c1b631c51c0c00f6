"""The table of all chat commands, from which parser, help, completion and manual are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from modelfiles.parameters import Parameters


class Verb(StrEnum):
    """Identity of a command; the value is how it is typed."""

    SET_PARAMETER = "/set parameter"
    SET_SYSTEM = "/set system"
    SET_THINK = "/set think"
    SET_NOTHINK = "/set nothink"
    SET_FUSE = "/set fuse"
    SET_SWAP = "/set swap"
    SET_LIVE = "/set live"
    SET_PREPARE = "/set prepare"
    SHOW_INFO = "/show info"
    SHOW_LICENSE = "/show license"
    SHOW_MODELFILE = "/show modelfile"
    SHOW_PARAMETERS = "/show parameters"
    SHOW_SETTINGS = "/show settings"
    SHOW_SYSTEM = "/show system"
    SHOW_TEMPLATE = "/show template"
    LOAD = "/load"
    SAVE = "/save"
    CLEAR = "/clear"
    LIST = "/list"
    HUB = "/hub"
    BYE = "/bye"
    HELP = "/?"


class Need(StrEnum):
    """State of the chat that a command requires."""

    NOTHING = "nothing"
    MODEL = "a loaded model"
    NO_ANSWER = "no answer being written"
    IDLE_MODEL = "a loaded model that is not answering"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    verb: Verb
    arguments: str
    """Arguments after the command, in capitals; empty for none."""
    description: str
    need: Need
    alias: str = ""
    """Another word for the command."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command, the first one with its slash."""
        return tuple(self.verb.value.split())

    @property
    def usage(self) -> str:
        """The command as typed, with its arguments."""
        return f"{self.verb} {self.arguments}".strip()


TABLE: tuple[Row, ...] = (
    Row(Verb.SET_PARAMETER, "NAME VALUE", "set a parameter; `stop` takes several", Need.IDLE_MODEL),
    Row(Verb.SET_SYSTEM, "TEXT", 'set the system message; `""` for none', Need.IDLE_MODEL),
    Row(Verb.SET_THINK, "", "ask a reasoning model to think", Need.IDLE_MODEL),
    Row(Verb.SET_NOTHINK, "", "ask a reasoning model not to think", Need.IDLE_MODEL),
    Row(Verb.SET_FUSE, "MODE", "adapters in one: auto, always, never", Need.NOTHING),
    Row(Verb.SET_SWAP, "MODE", "after a swap: evaluate anew, or keep", Need.NOTHING),
    Row(Verb.SET_LIVE, "MODE", "change the mix mid-answer: on, off", Need.NOTHING),
    Row(Verb.SET_PREPARE, "MODE", "read ahead in background: on, off", Need.NOTHING),
    Row(Verb.SHOW_INFO, "", "show what the model is made of", Need.MODEL),
    Row(Verb.SHOW_LICENSE, "", "show the license", Need.MODEL),
    Row(Verb.SHOW_MODELFILE, "", "show the Modelfile `/save` would write", Need.MODEL),
    Row(Verb.SHOW_PARAMETERS, "", "show the parameters", Need.MODEL),
    Row(Verb.SHOW_SETTINGS, "", "show the settings as a settings.toml", Need.NOTHING),
    Row(Verb.SHOW_SYSTEM, "", "show the system message", Need.MODEL),
    Row(Verb.SHOW_TEMPLATE, "", "show the chat template", Need.MODEL),
    Row(Verb.LOAD, "NAME", "change the model; the chat stays", Need.NO_ANSWER),
    Row(Verb.SAVE, "NAME", "create a model from chat and mix", Need.IDLE_MODEL),
    Row(Verb.CLEAR, "", "new chat; mix and system stay", Need.IDLE_MODEL),
    Row(Verb.LIST, "", "list the models", Need.NOTHING),
    Row(Verb.HUB, "WORDS", "find adapters on the Hub", Need.MODEL),
    Row(Verb.BYE, "", "quit", Need.NOTHING, "/exit"),
    Row(Verb.HELP, "", "show these commands", Need.NOTHING, "/help"),
)

SETTING_KEYS = {
    Verb.SET_FUSE: "fuse",
    Verb.SET_SWAP: "swap",
    Verb.SET_LIVE: "live",
    Verb.SET_PREPARE: "prepare",
}
"""The setting that each command changes."""

HELP_TOPICS = ("set", "show", "shortcuts")
"""Words that may follow `/?`."""

GROUPS = tuple(dict.fromkeys(row.words[0] for row in TABLE if len(row.words) > 1))
"""First words that need a second one."""

FIRST_WORDS = tuple(
    dict.fromkeys(word for row in TABLE for word in (row.words[0], row.alias) if word)
)


def row_of(verb: Verb) -> Row:
    """Return the row of a verb."""
    return next(row for row in TABLE if row.verb is verb)


def rows_of(first_word: str) -> Iterator[Row]:
    """Yield the rows whose command begins with this word, or has it as its alias."""
    return (row for row in TABLE if first_word in (row.words[0], row.alias))


def second_words(first_word: str) -> tuple[str, ...]:
    """Return the words that may follow the first one of a group."""
    return tuple(row.words[1] for row in rows_of(first_word) if len(row.words) > 1)


PARAMETER_NAMES: tuple[str, ...] = Parameters.__struct_fields__
"""The parameters that `/set parameter` takes."""
