"""Interpret the commands of a Modelfile, and write Modelfiles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from modelfiles.errors import ModelfileError, ParameterError
from modelfiles.language.adapter_line import AdapterLine
from modelfiles.language.commands import DIRECTIVES, Command, parse, read_value
from modelfiles.model import Kept, Message, Model, Role
from modelfiles.parameters import DEPRECATED, Parameters, Value, build_parameters, parse_value
from modelfiles.wording import printable, quoted

# Ollama hands the text to Go's semver package: a leading "v" and a missing patch are fine.
_SEMVER = re.compile(r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\Z")


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The content of a Modelfile, with its references not yet resolved.

    An empty SYSTEM, TEMPLATE, RENDERER or PARSER is kept as an empty text; it means "not set".
    """

    base: str
    """The last FROM; empty means the folder of the Modelfile."""
    adapters: tuple[AdapterLine, ...] = ()
    parameters: Parameters = field(default_factory=Parameters)
    system: str | None = None
    template: str | None = None
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    kept: Kept[str] = Kept()  # noqa: RUF009  # immutable
    earlier_bases: tuple[str, ...] = ()
    """FROM lines before the last one, in order."""
    base_line: int | None = field(default=None, compare=False)
    template_line: int | None = field(default=None, compare=False)
    draft_lines: tuple[int, ...] = field(default=(), compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """One sentence for each parameter that was accepted without effect."""

    @classmethod
    def from_commands(cls, commands: Sequence[Command]) -> Modelfile:
        """Build the record from the commands of one Modelfile.

        Raises `ModelfileError`, with a line number, for an unknown parameter or invalid value, an
        invalid ADAPTER line, a repeated adapter name, and an invalid REQUIRES; without one, if
        there is no FROM.
        """
        texts = {name: [c for c in commands if _is(c, name)] for name in ("model", *DIRECTIVES)}

        def last(name: str) -> str | None:
            return texts[name][-1].args if texts[name] else None

        _require_versions(texts["requires"])
        parameters, warnings = _parameters(c for c in commands if c.is_parameter)
        bases = texts["model"]
        if not bases:
            raise ModelfileError("no FROM line")
        adapters = tuple(AdapterLine.parse(c) for c in texts["adapter"])
        _require_distinct_names(adapters)
        return cls(
            base=bases[-1].args,
            adapters=adapters,
            parameters=parameters,
            system=last("system"),
            template=last("template"),
            messages=tuple(_message(c) for c in texts["message"]),
            licenses=tuple(c.args for c in texts["license"]),
            kept=Kept(
                last("renderer"),
                last("parser"),
                last("requires"),
                tuple(c.args for c in texts["draft"]),
            ),
            earlier_bases=tuple(c.args for c in bases[:-1]),
            base_line=bases[-1].line,
            template_line=texts["template"][-1].line if texts["template"] else None,
            draft_lines=tuple(c.line for c in texts["draft"]),
            warnings=warnings,
        )

    @classmethod
    def from_text(cls, source: bytes | str) -> Modelfile:
        """Parse a Modelfile's content; raises `ModelfileError`."""
        return cls.from_commands(parse(source))

    @classmethod
    def from_model(cls, model: Model) -> Modelfile:
        """Return the Modelfile that describes `model`, with its paths, names and scales."""
        return cls(
            base=str(model.base),
            adapters=tuple(AdapterLine(str(a.path), a.scale, a.name) for a in model.adapters),
            parameters=model.parameters,
            system=model.system,
            template=model.template,
            messages=model.messages,
            licenses=model.licenses,
            kept=model.kept.with_drafts(tuple(map(str, model.kept.drafts))),
        )

    def to_text(self) -> str:
        """Return a Modelfile that parses to the same record.

        Raises `ModelfileError` for a text that no form of quoting can hold: several lines, one of
        which ends in three quotes.
        """
        lines = [_line("FROM ", base) for base in (*self.earlier_bases, self.base)]
        lines += [adapter.to_text() for adapter in self.adapters]
        lines += [_line("DRAFT ", draft) for draft in self.kept.drafts]
        for directive, text in (
            ("TEMPLATE", self.template),
            ("SYSTEM", self.system),
            ("RENDERER", self.kept.renderer),
            ("PARSER", self.kept.parser),
            ("REQUIRES", self.kept.requires),
        ):
            if text is not None:
                lines.append(_line(f"{directive} ", text))
        lines += [_line(f"PARAMETER {name} ", text) for name, text in self.parameters.lines()]
        lines += [_line("LICENSE ", text) for text in self.licenses]
        lines += [_line(f"MESSAGE {m.role} ", m.content) for m in self.messages]
        return "".join(f"{line}\n" for line in lines)


def read(path: Path) -> Modelfile:
    """Read the Modelfile at `path`.

    Raises `ModelfileError`, whose text names the file and, for invalid content, the line.
    """
    where = printable(path)
    try:
        source = path.read_bytes()
    except IsADirectoryError:
        raise ModelfileError(f"{where} is a folder, not a Modelfile") from None
    except FileNotFoundError:
        raise ModelfileError(f"there is no Modelfile at {where}") from None
    except OSError as error:
        raise ModelfileError(f"cannot read {where}: {error.strerror or error}") from None
    try:
        return Modelfile.from_text(source)
    except ModelfileError as error:
        raise ModelfileError(f"{where} {error}", error.line) from None


def generated_text(model: Model) -> str:
    """Return a Modelfile that recreates `model`, with a comment header about its origin."""
    return (
        '# Modelfile generated by "tui show --modelfile"\n'
        "# To build a new Modelfile based on this one, put this line in place of the FROM and\n"
        "# ADAPTER lines:\n"
        f"# FROM {model.name}\n\n"
    ) + Modelfile.from_model(model).to_text()


def quote(value: str) -> str:
    """Return `value` with as few quotes as a Modelfile needs to read it back unchanged.

    Raises `ModelfileError` if no form of quoting can hold it.
    """
    for written in (value or '""', f'"{value}"', f'"""{value}"""'):
        read_back = read_value(written, 0)
        if read_back is not None and (read_back.text, read_back.end) == (value, len(written)):
            return written
    raise ModelfileError(
        f"the text beginning {quoted(value[:40])} cannot be written in a Modelfile,"
        ' because it has several lines and one of them ends in """'
    )


def _line(start: str, value: str) -> str:
    return start + quote(value)


def _is(command: Command, name: str) -> bool:
    return command.name == name and not command.is_parameter


def _parameters(commands: Iterable[Command]) -> tuple[Parameters, tuple[str, ...]]:
    values: list[tuple[str, Value]] = []
    warnings = []
    for command in commands:
        if command.name in DEPRECATED:
            warnings.append(
                f"warning: parameter {command.name} is deprecated and has no effect"
                f" (line {command.line})"
            )
            continue
        try:
            values.append((command.name, parse_value(command.name, command.args)))
        except ParameterError as error:
            advice = "" if command.name else " (one blank only between PARAMETER and its name)"
            raise ModelfileError(
                f"(line {command.line}): {error}{advice}; the line sets"
                f" {quoted(f'{command.name} {command.args}')}",
                command.line,
            ) from None
    return build_parameters(values), tuple(warnings)


def _message(command: Command) -> Message:
    role, _, content = command.args.partition(": ")
    return Message(cast(Role, role), content)


def _require_versions(commands: Sequence[Command]) -> None:
    for command in commands:
        if not _SEMVER.match(command.args):
            raise ModelfileError(
                f"(line {command.line}): requires must be a valid semver (e.g. 0.14.0),"
                f" not {quoted(command.args)}",
                command.line,
            )


def _require_distinct_names(adapters: Sequence[AdapterLine]) -> None:
    seen: set[str] = set()
    for adapter in adapters:
        if adapter.name is not None and adapter.name in seen:
            raise ModelfileError(
                f"(line {adapter.line}): the adapter name {quoted(adapter.name)} is already taken"
                " by an earlier ADAPTER line; give each its own name=",
                adapter.line,
            )
        if adapter.name is not None:
            seen.add(adapter.name)
