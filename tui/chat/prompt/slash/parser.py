"""Parse a line of the prompt into a command, or into the message for the model."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from modelfiles.errors import ModelfilesError
from modelfiles.parameters import DEPRECATED, Parameters, build_parameters, parse_value
from modelfiles.references.model_name import ModelName
from modelfiles.wording import hint, nearest, quoted
from tui.chat.prompt.slash.table import (
    FIRST_WORDS,
    GROUPS,
    HELP_TOPICS,
    SETTING_KEYS,
    Row,
    Verb,
    rows_of,
    second_words,
)
from tui.errors import TuiError
from tui.settings import setting_of

_ONE_WORD = re.compile(r"/[^/\s]*\Z")
_WORD = re.compile(r'"([^"]*)"|(\S+)')
_QUOTES = '"""'


class SlashError(TuiError):
    """A command that cannot be carried out as typed."""


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A command and its arguments."""

    verb: Verb
    argument: str = ""
    """The system message, a setting's value, the name of a model, words to search for, or the topic
    of the help."""
    parameters: Parameters = field(default_factory=Parameters)
    """The one parameter that `/set parameter` sets."""
    typed: str = ""
    """The first line as typed, for the heading of the command's output."""


def parse(text: str) -> SlashCommand | str:
    """Return the command in `text`, or the message to send if it is not a command.

    A command begins with a word of the table, a misspelt one, or any other word after a slash that
    stands alone. Texts such as `/etc/hosts is a file` are messages. Two slashes before what would
    be a command make it a message, sent with one. Raises `SlashError` with a sentence.
    """
    text = text.strip()
    if not text.startswith("/"):
        return text
    if text.startswith("//"):
        return text[1:] if _is_meant_as_command(text[1:]) else text
    return _command(text) if _is_meant_as_command(text) else text


def _is_meant_as_command(text: str) -> bool:
    first, _, rest = _split(text)
    if first in FIRST_WORDS or (not rest and _ONE_WORD.match(first)):
        return True
    return bool(_ONE_WORD.match(first)) and _nearest(first) is not None


def _nearest(first: str) -> str | None:
    # Compared without the slash, which would make any two short words look alike.
    found = nearest(first[1:], [word[1:] for word in FIRST_WORDS])
    return None if found is None else f"/{found}"


def _split(text: str) -> tuple[str, str, str]:
    parts = text.split(maxsplit=1)
    first, rest = parts[0].casefold(), parts[1].strip() if len(parts) > 1 else ""
    return first, parts[0], rest


def _command(text: str) -> SlashCommand:
    first, written, rest = _split(text)
    heading = text.splitlines()[0]
    if first not in FIRST_WORDS and first != "/":
        found = _nearest(first)
        close = f' (did you mean "{found}"?)' if found is not None else ""
        raise SlashError(f"Unknown command '{written}'{close}. Type /? for help")
    if first in GROUPS:
        return _of_group(first, rest, heading)
    if first == "/":
        return SlashCommand(Verb.HELP, typed=heading)
    row = next(rows_of(first))
    if row.verb is Verb.HELP:
        return SlashCommand(Verb.HELP, _topic(rest), typed=heading)
    if row.verb is Verb.HUB:
        return SlashCommand(row.verb, rest, typed=heading)
    if row.arguments:
        return SlashCommand(row.verb, _model_name(row, rest), typed=heading)
    return _alone(row, written, rest, heading)


def _of_group(first: str, rest: str, heading: str) -> SlashCommand:
    if not rest:
        return SlashCommand(Verb.HELP, first.removeprefix("/"), typed=heading)
    second, _, rest = _split(rest)
    row = next((row for row in rows_of(first) if row.words[1] == second), None)
    if row is None:
        close = hint(second, second_words(first))
        raise SlashError(f"Unknown command '{first} {second}'{close}. Type /? {first[1:]} for help")
    if row.verb is Verb.SET_PARAMETER:
        return SlashCommand(row.verb, parameters=_parameter(row, rest), typed=heading)
    if row.verb is Verb.SET_SYSTEM:
        return SlashCommand(row.verb, _system(row, rest), typed=heading)
    if row.verb in SETTING_KEYS:
        return SlashCommand(row.verb, _choice(row, rest), typed=heading)
    return _alone(row, row.verb, rest, heading)


def _alone(row: Row, written: str, rest: str, heading: str) -> SlashCommand:
    if rest:
        raise SlashError(
            f"{written} takes nothing after it; a message that begins so is sent with /{written}"
        )
    return SlashCommand(row.verb, typed=heading)


def _topic(rest: str) -> str:
    topic = rest.casefold().removeprefix("/")
    if topic and topic not in HELP_TOPICS:
        raise SlashError(f"There is help for {', '.join(HELP_TOPICS)}, not for '{rest}'.")
    return topic


def _model_name(row: Row, rest: str) -> str:
    if len(rest.split()) != 1:
        raise SlashError(f"{row.verb} takes one name: {row.usage}")
    try:
        ModelName.parse(rest)
    except ModelfilesError as error:
        raise SlashError(str(error)) from None
    return rest


def _parameter(row: Row, rest: str) -> Parameters:
    words = [word or quoted for quoted, word in _WORD.findall(rest)]
    if len(words) < 2:
        raise SlashError(f"{row.verb} takes a name and a value: {row.usage}")
    name, values = words[0], words[1:]
    if name in DEPRECATED:
        raise SlashError(f"Couldn't set parameter: {name} is deprecated and has no effect")
    try:
        parsed = [(name, parse_value(name, value)) for value in values]
    except ModelfilesError as error:
        raise SlashError(f"Couldn't set parameter: {error}") from None
    if name != "stop" and len(values) > 1:
        raise SlashError(f"Couldn't set parameter: {name} takes one value, not {len(values)}")
    return build_parameters(parsed)


def _choice(row: Row, rest: str) -> str:
    choices = tuple(setting_of(SETTING_KEYS[row.verb]).choices)
    words = f"{', '.join(choices[:-1])} or {choices[-1]}"
    if not rest:
        raise SlashError(f"{row.verb} takes {words}")
    if rest.casefold() not in choices:
        raise SlashError(f"{row.verb} takes {words}, not {quoted(rest)}{hint(rest, choices)}")
    return rest.casefold()


def _system(row: Row, rest: str) -> str:
    if not rest:
        raise SlashError(f'{row.verb} takes a text, or "" for none: {row.usage}')
    if rest == '""':
        return ""
    if not rest.startswith(_QUOTES):
        return rest
    if len(rest) < 2 * len(_QUOTES) or not rest.endswith(_QUOTES):
        raise SlashError(f"The text begins with {_QUOTES} and has to end with {_QUOTES}")
    return rest[len(_QUOTES) : -len(_QUOTES)].strip("\n")
