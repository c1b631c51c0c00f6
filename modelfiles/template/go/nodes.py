"""The syntax tree of a Go text template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelfiles.errors import TemplateError

Literal = str | int | float | bool | None


def error_at(source: str, offset: int, reason: str) -> TemplateError:
    """Return an error with the line and column of `offset`, both counted from 1."""
    line = source.count("\n", 0, offset) + 1
    column = offset - source.rfind("\n", 0, offset)
    return TemplateError(f"line {line}, column {column}: {reason}")


@dataclass(frozen=True, slots=True)
class _Placed:
    """A node with the place in the template's text where it begins."""

    offset: int


@dataclass(frozen=True, slots=True)
class Constant(_Placed):
    """A literal: text, number, true, false or nil."""

    value: Literal


@dataclass(frozen=True, slots=True)
class Dot(_Placed):
    """`.`: the value that the enclosing range or with sets."""


@dataclass(frozen=True, slots=True)
class Field(_Placed):
    """`.Messages` or `.Function.Name`: fields of the dot."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable(_Placed):
    """`$m` or `$m.Role`; `$` alone is the root."""

    name: str
    """Includes the dollar sign."""
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function(_Placed):
    """The name of a function."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain(_Placed):
    """`(index .Messages 0).Role`: fields of a parenthesised pipeline."""

    pipeline: Pipeline
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command(_Placed):
    """Operands side by side: a value alone, or a function with its arguments."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pipeline(_Placed):
    """Commands joined by `|`, perhaps behind `$x :=` or `$x =`."""

    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    """Names set to the value, with their dollar signs; two only in a range."""
    is_assignment: bool = False
    """Whether the variables are set with `=` rather than declared with `:=`."""


Operand = Constant | Dot | Field | Variable | Function | Chain | Pipeline


@dataclass(frozen=True, slots=True)
class Text(_Placed):
    """Text outside of actions, after trimming."""

    text: str


@dataclass(frozen=True, slots=True)
class Action(_Placed):
    """`{{ pipeline }}`, which prints its value unless it sets variables."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """One condition of an if or a with, and its body."""

    pipeline: Pipeline
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class If(_Placed):
    """`if`, every `else if`, `else`."""

    branches: tuple[Branch, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class With(_Placed):
    """`with`, every `else with`, `else`."""

    branches: tuple[Branch, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Range(_Placed):
    """`range`, and the `else` for an empty collection."""

    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Break(_Placed):
    """`break`: ends the innermost range."""


@dataclass(frozen=True, slots=True)
class Continue(_Placed):
    """`continue`: ends the current iteration of the innermost range."""


Node = Text | Action | If | With | Range | Break | Continue


def names_in(nodes: tuple[Node, ...]) -> Iterator[str]:
    """Yield the name of every field that `nodes` mention, in order."""
    for node in nodes:
        match node:
            case Action(_, pipeline):
                yield from names_of(pipeline)
            case If(_, branches, otherwise) | With(_, branches, otherwise):
                for branch in branches:
                    yield from names_of(branch.pipeline)
                    yield from names_in(branch.body)
                yield from names_in(otherwise)
            case Range(_, pipeline, body, otherwise):
                yield from names_of(pipeline)
                yield from names_in(body)
                yield from names_in(otherwise)


def names_of(pipeline: Pipeline, *, is_of_variables: bool = True) -> Iterator[str]:
    """Yield the names of all fields in `pipeline`; those of `$x.Field` if `is_of_variables`."""
    for command in pipeline.commands:
        for operand in command.operands:
            match operand:
                case Field(_, names):
                    yield from names
                case Variable(_, _, names) if is_of_variables:
                    yield from names
                case Chain(_, inner, names):
                    yield from names_of(inner, is_of_variables=is_of_variables)
                    yield from names
                case Pipeline():
                    yield from names_of(operand, is_of_variables=is_of_variables)
