"""Evaluate the syntax tree of a Go template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from modelfiles.errors import TemplateError
from modelfiles.template.bounds import Budget, limit_length
from modelfiles.template.go.functions import FUNCTIONS, LAZY
from modelfiles.template.go.nodes import (
    Action,
    Break,
    Chain,
    Command,
    Constant,
    Continue,
    Dot,
    Field,
    Function,
    If,
    Node,
    Operand,
    Pipeline,
    Range,
    Text,
    Variable,
    With,
    error_at,
)
from modelfiles.template.go.values import Struct, Value, is_true, text_of, type_name


class _Flow(Enum):
    """How the range around a list of nodes continues."""

    NEXT = auto()
    BREAK = auto()
    CONTINUE = auto()


class Evaluator:
    """The state of one rendering: visible variables, output so far and remaining budget."""

    def __init__(self, source: str, root: Mapping[str, Value]) -> None:
        self._source = source
        self._root: Value = root
        self._variables: list[tuple[str, Value]] = [("$", root)]
        self._parts: list[str] = []
        self._n_characters = 0
        self._budget = Budget()

    def run(self, nodes: tuple[Node, ...]) -> str:
        """Return the output of `nodes`; raises `TemplateError`."""
        self._walk(nodes, self._root)
        return "".join(self._parts)

    def _walk(self, nodes: tuple[Node, ...], dot: Value) -> _Flow:
        for node in nodes:
            flow = _Flow.NEXT
            match node:
                case Text():
                    self._write(node.text)
                case Action():
                    value = self._pipeline(node.pipeline, dot)
                    if not node.pipeline.variables:
                        self._write(text_of(value))
                case If() | With():
                    flow = self._branches(node, dot)
                case Range():
                    flow = self._range(node, dot)
                case Break():
                    return _Flow.BREAK
                case Continue():
                    return _Flow.CONTINUE
            if flow is not _Flow.NEXT:
                return flow
        return _Flow.NEXT

    def _write(self, text: str) -> None:
        self._n_characters += len(text)
        limit_length(self._n_characters)
        self._parts.append(text)

    def _branches(self, node: If | With, dot: Value) -> _Flow:
        n_visible = len(self._variables)
        body, inner_dot = node.otherwise, dot
        for branch in node.branches:
            value = self._pipeline(branch.pipeline, dot)
            if is_true(value):
                body = branch.body
                inner_dot = value if isinstance(node, With) else dot
                break
        flow = self._walk(body, inner_dot)
        del self._variables[n_visible:]
        return flow

    def _range(self, node: Range, dot: Value) -> _Flow:
        n_visible = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        n_before = len(self._variables)
        flow, is_empty = _Flow.NEXT, True
        for key, item in self._items(value, node):
            is_empty = False
            self._budget.step()
            self._set_turn(node.pipeline, n_before, key, item)
            turn = self._walk(node.body, item)
            del self._variables[n_before:]
            if turn is _Flow.BREAK:
                break
        if is_empty:
            flow = self._walk(node.otherwise, dot)
        del self._variables[n_visible:]
        return flow

    def _set_turn(self, pipeline: Pipeline, end: int, key: Value, item: Value) -> None:
        """Set a range's variables for one iteration; declared ones are the last before `end`."""
        names = pipeline.variables
        values = (key, item) if len(names) == 2 else (item,)
        for i, (name, value) in enumerate(zip(names, values, strict=False)):
            if pipeline.is_assignment:
                self._assign(name, value)
            else:
                self._variables[end - len(names) + i] = (name, value)

    def _items(self, value: Value, node: Range) -> Iterable[tuple[Value, Value]]:
        if value is None:
            return ()
        if isinstance(value, list):
            return enumerate(value)
        if isinstance(value, Mapping):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, int) and not isinstance(value, bool):
            return ((i, i) for i in range(value))
        raise self._error(node, f"range can't iterate over a value of type {type_name(value)}")

    def _pipeline(self, pipeline: Pipeline, dot: Value) -> Value:
        self._budget.check_time()
        value: Value = None
        for i, command in enumerate(pipeline.commands):
            value = self._command(command, dot, (value,) if i else ())
        for name in pipeline.variables:
            if pipeline.is_assignment:
                self._assign(name, value)
            else:
                self._variables.append((name, value))
        return value

    def _command(self, command: Command, dot: Value, piped: tuple[Value, ...]) -> Value:
        first, *operands = command.operands
        if isinstance(first, Function):
            return self._call(first, operands, dot, piped)
        if operands or piped:
            raise self._error(first, "can't give arguments to a value that is no function")
        return self._operand(first, dot)

    def _call(
        self, function: Function, operands: list[Operand], dot: Value, piped: tuple[Value, ...]
    ) -> Value:
        if function.name in LAZY:
            return self._lazy(function, operands, dot, piped)
        values = [*(self._operand(operand, dot) for operand in operands), *piped]
        called = FUNCTIONS[function.name]
        if not called.takes(len(values)):
            reason = f"wrong number of args for {function.name}: got {len(values)}"
            raise self._error(function, reason)
        try:
            return called.run(*values)
        except ValueError as error:
            raise self._error(function, f"error calling {function.name}: {error}") from None

    def _lazy(
        self, function: Function, operands: list[Operand], dot: Value, piped: tuple[Value, ...]
    ) -> Value:
        """Return the first operand that decides an `and` or an `or`, else the last operand."""
        if not operands and not piped:
            raise self._error(function, f"wrong number of args for {function.name}: got 0")
        value: Value = None
        for operand in operands:
            value = self._operand(operand, dot)
            if is_true(value) == (function.name == "or"):
                return value
        return piped[0] if piped else value

    def _operand(self, operand: Operand, dot: Value) -> Value:
        match operand:
            case Constant():
                return operand.value
            case Dot():
                return dot
            case Field():
                return self._fields(dot, operand.names, operand)
            case Variable():
                return self._fields(self._variable(operand), operand.fields, operand)
            case Chain():
                value = self._pipeline(operand.pipeline, dot)
                return self._fields(value, operand.fields, operand)
            case Function():
                return self._call(operand, [], dot, ())
            case Pipeline():
                return self._pipeline(operand, dot)

    def _fields(self, value: Value, names: tuple[str, ...], operand: Operand) -> Value:
        for name in names:
            if value is None:
                return None
            fields = value.fields if isinstance(value, Struct) else value
            if not isinstance(fields, Mapping) or (fields is not value and name not in fields):
                reason = f"can't evaluate field {name} in type {type_name(value)}"
                raise self._error(operand, reason)
            value = fields.get(name)
        return value

    def _variable(self, variable: Variable) -> Value:
        for name, value in reversed(self._variables):
            if name == variable.name:
                return value
        # An `and` or `or` skipped the parentheses that declare it.
        raise self._error(variable, f'undefined variable "{variable.name}"')

    def _assign(self, name: str, value: Value) -> None:
        for i in range(len(self._variables) - 1, -1, -1):
            if self._variables[i][0] == name:
                self._variables[i] = (name, value)
                return

    def _error(self, node: Node | Operand, reason: str) -> TemplateError:
        return error_at(self._source, node.offset, reason)
