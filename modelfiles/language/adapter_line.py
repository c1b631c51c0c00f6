"""Parse and write ADAPTER lines: `ADAPTER <reference> [scale=<float>] [name=<id>]`.

`ADAPTER ./style.gguf 0.5` is short for `scale=0.5`. A quoted reference is literal, and options
follow its closing quote. An unquoted argument has two readings: the whole argument is the path
(Ollama's meaning), or it ends in options. Which one holds depends on the existing files, so
`AdapterLine` keeps the whole argument beside its parts and `modelfiles.references.resolve` decides.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from modelfiles.errors import ModelfileError
from modelfiles.language.commands import Command, Value, read_value, split_quoted_reference
from modelfiles.wording import COMMENT, NO_COMMENT, quoted

MAX_SCALE = 1000.0
"""Largest magnitude of a scale; float32 arithmetic stays finite well beyond it."""

_OPTION = re.compile(r"(?:^|[ \t]+)(scale|name)=([^ \t]*)\Z")
_NUMBER = r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)"
_SHORT_SCALE = re.compile(rf"(?:^|[ \t]+)({_NUMBER})\Z", re.IGNORECASE)
_NAME = re.compile(r"\w[\w.-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class AdapterLine:
    """The parts of one ADAPTER line."""

    reference: str
    scale: float = 1.0
    name: str | None = None
    argument: str | None = field(default=None, compare=False)
    """The whole unquoted argument, set if options were split off. If a file of that name exists,
    it is the reference and the scale is 1.0."""
    line: int | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, command: Command) -> AdapterLine:
        """Split the argument of an ADAPTER command into reference and options.

        Raises `ModelfileError` for a scale that is not finite or exceeds `MAX_SCALE`, a name that
        is not an id, an option given twice, and any text but options after a quoted reference.
        """
        if command.is_quoted:
            return cls(command.args, line=command.line)
        parts = split_quoted_reference(command.args)
        rest = parts[1] if parts is not None else command.args
        options: dict[str, str] = {}
        while match := _OPTION.search(rest):
            if match[1] in options:
                raise _error(command, f"{match[1]}= is given twice")
            options[match[1]] = match[2]
            rest = rest[: match.start()]
        short = _SHORT_SCALE.search(rest) if "scale" not in options else None
        # A number alone is a reference: `ADAPTER 0.5` names a file.
        if short is not None and (parts is not None or short.start() > 0):
            options["scale"] = short[1]
            rest = rest[: short.start()]
        if parts is not None and rest:
            raise _error(
                command,
                f"after the closing quote only scale=<number> and name=<id> may follow,"
                f" not {quoted(rest.strip())}",
            )
        scale = _scale(command, options["scale"]) if "scale" in options else 1.0
        name = _name(command, options["name"]) if "name" in options else None
        reference = parts[0] if parts is not None else rest
        is_whole = parts is not None or reference == command.args
        argument = None if is_whole else command.args
        return cls(reference, scale, name, argument, command.line)

    def to_text(self) -> str:
        """Return the line in a form that parses to the same reference, scale and name.

        Raises `ModelfileError` if no form of quoting can hold the reference or the name.
        """
        options = f" scale={self.scale!r}" if self.scale != 1.0 or self.name is not None else ""
        options += f" name={self.name}" if self.name is not None else ""
        # The last resort is a redundant scale=1.0, since `"a" "b"` alone would be split after
        # the first closing quote.
        for ending in (options, options or " scale=1.0"):
            for written in (
                self.reference or '""',
                f'"{self.reference}"',
                f'"""{self.reference}"""',
            ):
                value = read_value(written + ending, 0, is_adapter=True)
                if value is not None and self._is_read_from(value, written + ending):
                    return f"ADAPTER {written}{ending}"
        raise ModelfileError(
            f"the adapter reference {quoted(self.reference)} cannot be written in a Modelfile"
        )

    def _is_read_from(self, value: Value, written: str) -> bool:
        command = Command("adapter", value.text, 0, is_quoted=value.is_quoted)
        try:
            return value.end == len(written) and AdapterLine.parse(command) == self
        except ModelfileError:
            return False


def mistake_in(tail: str, *, has_scale: bool) -> str:
    """Return what is wrong with text between the reference and the options of an ADAPTER line.

    `has_scale` says that a scale was read behind it.
    """
    if COMMENT.search(f" {tail}"):
        return NO_COMMENT
    if spaced := re.match(r"(scale|name)[ \t]*=", tail):
        return f"{spaced[1]}= takes its value without blanks around the ="
    if unknown := re.match(r"([A-Za-z_]\w*)=", tail):
        return f"unknown option {quoted(unknown[1])}: use scale= or name="
    if has_scale and re.fullmatch(_NUMBER, tail, re.IGNORECASE):
        return f"the line has two scales, {tail} and another: give one"
    return f"the scale must be a finite number, not {quoted(tail)}"


def _scale(command: Command, text: str) -> float:
    try:
        # Python's float() accepts digit separators, which other Modelfile readers do not.
        scale = math.nan if "_" in text else float(text)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise _error(command, f"the scale must be a finite number, not {quoted(text)}")
    if abs(scale) > MAX_SCALE:
        raise _error(
            command, f"the scale must lie between -{MAX_SCALE:g} and {MAX_SCALE:g}, not {text}"
        )
    return scale


def _name(command: Command, text: str) -> str:
    if not _NAME.match(text):
        raise _error(
            command,
            f"an adapter's name is made of letters, digits, -, _ and ., not {quoted(text)}",
        )
    return text


def _error(command: Command, message: str) -> ModelfileError:
    return ModelfileError(
        f"(line {command.line}): {message}; the line reads {quoted(f'ADAPTER {command.args}')}",
        command.line,
    )
