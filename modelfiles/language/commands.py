"""Parse the text of a Modelfile into commands with line numbers.

The grammar is that of Ollama's state machine in `parser/parser.go`, with four deliberate
differences. Values keep invisible characters (Ollama drops them, which damages emoji sequences
and full-width spaces). CRLF counts as one line end. `PARAMETER system x` is a parameter called
"system", never the directive. On an ADAPTER line, text may follow the closing quote, because the
scale stands there.
"""

from __future__ import annotations

import bisect
import codecs
import re
import unicodedata
from dataclasses import dataclass, field

from modelfiles.errors import ModelfileError
from modelfiles.wording import hint, quoted

DIRECTIVES = (
    *("from", "license", "template", "system", "adapter", "draft", "renderer", "parser"),
    *("parameter", "message", "requires"),
)
ROLES = ("system", "user", "assistant")

_BLANKS = " \t"
_SPACE = " \t\r\n"
_LINE_END = re.compile(r"\r\n|\r|\n")
_LETTERS = re.compile(r"[A-Za-z]*")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_]*")
# A quoted reference with text after its closing quote on the same line.
_QUOTED_REFERENCE = re.compile(r'(?:"""(.*?)"""|"(?!"")([^"]*)")[ \t]+(?=[^ \t\r\n])', re.DOTALL)
# Letters and line ends with a zero byte before or behind each, as UTF-16 writes ASCII.
_UTF16 = re.compile(rb"(?:[\t\n\r -~]\0){2}|(?:\0[\t\n\r -~]){2}")


@dataclass(frozen=True, slots=True)
class Command:
    """One directive of a Modelfile.

    `name` is the directive in lower case, with two exceptions taken from Ollama: FROM is "model",
    and `PARAMETER x …` is "x" with `is_parameter` set. The `args` of MESSAGE are `role: text`.
    """

    name: str
    args: str
    line: int
    """The line of the directive, counted from 1."""
    is_parameter: bool = False
    is_quoted: bool = field(default=False, compare=False)
    """Whether the whole value was in quotes, which makes an ADAPTER reference literal."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value in a Modelfile: its text without quotes, and the offset of its end."""

    text: str
    end: int
    is_quoted: bool


def parse(source: bytes | str) -> tuple[Command, ...]:
    """Read the commands of a Modelfile, in order.

    Bytes are UTF-8, or UTF-16 if they begin with its byte order mark; undecodable bytes become
    U+FFFD. Raises `ModelfileError`, with the line, for UTF-16 without the mark, for a syntax error
    and if there is no FROM.
    """
    reader = _Reader(decode(source))
    commands = []
    while (command := reader.next_command()) is not None:
        commands.append(command)
    if not any(command.name == "model" and not command.is_parameter for command in commands):
        raise ModelfileError(
            f"(line {reader.last_line}): no FROM line: a Modelfile names its base,"
            " for example FROM ./model.gguf",
            reader.last_line,
        )
    return tuple(commands)


def decode(source: bytes | str) -> str:
    """Decode a Modelfile and strip its byte order mark."""
    if isinstance(source, str):
        return source.removeprefix("\ufeff")
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if source.startswith(mark):
            return source[len(mark) :].decode(encoding, errors="replace")
    if _UTF16.match(source):
        raise ModelfileError(
            "(line 1): the text is UTF-16 without a byte order mark: save it as UTF-8", 1
        )
    return source.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")


def read_value(text: str, start: int, *, is_adapter: bool = False) -> Value | None:
    """Read the value that begins at `start`; return None if its quote is never closed.

    A value ends at the first line end where its stripped text is unquoted, or closed by the quote
    that opened it. Takes time linear in the length of the value.
    """
    begin = start
    while begin < len(text) and text[begin] in _BLANKS:
        begin += 1
    plain = _plain_value(text, begin)
    if not is_adapter:
        return plain
    match = _QUOTED_REFERENCE.match(text, begin, plain.end if plain else len(text))
    if match is None:
        return plain
    line_end = _LINE_END.search(text, match.end())
    end = line_end.start() if line_end else len(text)
    return Value(text[begin:end].rstrip(_SPACE), end, is_quoted=False)


def split_quoted_reference(args: str) -> tuple[str, str] | None:
    """Split the `"reference" rest` of an ADAPTER line; return None if it is unquoted.

    `args` is a text that `read_value` returned; with nothing after the closing quote, the quotes
    are already stripped.
    """
    match = _QUOTED_REFERENCE.match(args)
    if match is None:
        return None
    reference = match[1] if match[1] is not None else match[2]
    return reference, args[match.end() :]


def _plain_value(text: str, begin: int) -> Value | None:
    checked = begin
    position = begin
    while True:
        line_end = _LINE_END.search(text, position)
        end = line_end.start() if line_end else len(text)
        last = end
        while last > checked and text[last - 1] in _SPACE:
            last -= 1
        # Blank lines cannot close a quote that was open before them.
        if last > checked or checked == begin:
            quote_length = _closed_by(text, begin, last)
            if quote_length is not None:
                inner = text[begin + quote_length : last - quote_length]
                return Value(inner, end, is_quoted=quote_length > 0)
        if line_end is None:
            return None
        checked = end
        position = line_end.end()


def _closed_by(text: str, begin: int, end: int) -> int | None:
    """Return how many quotes close `text[begin:end]` (0, 1 or 3); None if a quote is open."""
    if not text.startswith('"', begin, end):
        return 0
    if text.startswith('"""', begin, end):
        return 3 if end - begin >= 6 and text.endswith('"""', begin, end) else None
    return 1 if end - begin >= 2 and text.endswith('"', begin, end) else None


def _is_visible(character: str) -> bool:
    return character == " " or unicodedata.category(character)[0] in "LMNPS"


class _Reader:
    """A cursor over the text that reads one command at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line_starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    @property
    def last_line(self) -> int:
        return self._line_at(len(self._text.rstrip(_SPACE)))

    def next_command(self) -> Command | None:
        """Return the next command; None at the end of the text."""
        self._skip_to_command()
        if self._position == len(self._text):
            return None
        start = self._position
        directive = self._directive(start)
        if directive == "parameter":
            name = self._word(start, _PARAMETER_NAME, "PARAMETER needs a name, a blank and a value")
            value = self._value(start)
            return Command(name, value.text, self._line_at(start), True, value.is_quoted)
        if directive == "message":
            role = self._word(start, _LETTERS, "MESSAGE needs a role, a blank and a text")
            if role not in ROLES:
                raise self._error(
                    start,
                    'message role must be one of "system", "user", or "assistant",'
                    f" not {quoted(role)}{hint(role, ROLES)}",
                )
            text = f"{role}: {self._value(start).text}"
            return Command("message", text, self._line_at(start))
        value = self._value(start, is_adapter=directive == "adapter")
        name = "model" if directive == "from" else directive
        return Command(name, value.text, self._line_at(start), False, value.is_quoted)

    def _skip_to_command(self) -> None:
        text = self._text
        while self._position < len(text):
            character = text[self._position]
            if character == "#":
                end = _LINE_END.search(text, self._position)
                self._position = end.start() if end else len(text)
            elif character in _SPACE or not _is_visible(character):
                self._position += 1
            else:
                return

    def _directive(self, start: int) -> str:
        self._position = self._end_of(_LETTERS, start + 1)
        word = self._text[start : self._position]
        directive = word.lower()
        if self._position == len(self._text):
            expected = "" if directive in DIRECTIVES else f"; {_expected(word)}"
            raise self._error(
                start, f"unexpected EOF: the file ends after {quoted(word)}{expected}"
            )
        if self._text[self._position] not in _BLANKS or directive not in DIRECTIVES:
            raise self._error(start, _expected(word))
        self._position += 1
        return directive

    def _word(self, start: int, pattern: re.Pattern[str], need: str) -> str:
        begin = self._position
        self._position = self._end_of(pattern, begin)
        word = self._text[begin : self._position]
        if self._position == len(self._text) or self._text[self._position] not in _BLANKS:
            raise self._error(start, f"unexpected EOF: {word}; {need}")
        self._position += 1
        return word

    def _value(self, start: int, *, is_adapter: bool = False) -> Value:
        value = read_value(self._text, self._position, is_adapter=is_adapter)
        if value is None:
            raise self._error(start, "unexpected EOF: the quote opened here is never closed")
        self._position = value.end
        return value

    def _end_of(self, pattern: re.Pattern[str], begin: int) -> int:
        match = pattern.match(self._text, begin)
        return match.end() if match else begin

    def _line_at(self, position: int) -> int:
        return bisect.bisect_right(self._line_starts, position)

    def _error(self, position: int, message: str) -> ModelfileError:
        line = self._line_at(position)
        begin = self._line_starts[line - 1]
        end = _LINE_END.search(self._text, begin)
        text = self._text[begin : end.start() if end else len(self._text)].strip()
        return ModelfileError(f"(line {line}): {message}; the line reads {quoted(text)}", line)


def _expected(word: str) -> str:
    names = ", ".join(f'"{name}"' for name in DIRECTIVES[:-1])
    close = hint(word, DIRECTIVES)
    return f'command must be one of {names}, or "{DIRECTIVES[-1]}", not {quoted(word)}{close}'
