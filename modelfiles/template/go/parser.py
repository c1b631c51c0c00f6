"""Parse a Go template into its syntax tree.

Reports the errors that Go finds before a template runs: unbalanced blocks, unknown functions and
variables, invalid literals. Rejects `define`, `template` and `block`: no chat template is known
to use them.
"""

from __future__ import annotations

from collections.abc import Collection

from modelfiles.errors import TemplateError
from modelfiles.template.go.lexer import Kind, Token, tokenize
from modelfiles.template.go.literals import number, unquoted
from modelfiles.template.go.nodes import (
    Action,
    Branch,
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
from modelfiles.wording import printable, quoted

MAX_DEPTH = 60
"""Deepest nesting of blocks and parentheses; the deepest known template has 6."""
MAX_VARIABLES = 500
"""Most variables visible at one place; a lookup takes time linear in their number."""

_UNSUPPORTED = ("define", "template", "block")
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_OPERANDS = (
    *(Kind.FIELD, Kind.VARIABLE, Kind.WORD, Kind.NUMBER),
    *(Kind.STRING, Kind.RAW, Kind.CHARACTER),
)


def parse(source: str, functions: Collection[str]) -> tuple[Node, ...]:
    """Return the syntax tree of `source`; raises `TemplateError` with line and column."""
    return _Parser(source, functions).template()


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self._source = source
        self._functions = functions
        self._tokens = tokenize(source)
        self._at = 0
        self._variables = ["$"]
        self._depth = 0
        self._n_ranges = 0

    def template(self) -> tuple[Node, ...]:
        nodes, ending = self._list()
        if ending.kind is not Kind.END:
            raise self._error(ending, f"unexpected {{{{{ending.text}}}}}")
        return nodes

    def _list(self) -> tuple[tuple[Node, ...], Token]:
        """Read nodes up to `end`, `else` or the end of the template; also return that token."""
        nodes: list[Node] = []
        while True:
            token = self._next()
            if token.kind is Kind.TEXT:
                nodes.append(Text(token.offset, token.text))
                continue
            if token.kind is Kind.END:
                return tuple(nodes), token
            word = self._peek()
            if word.kind is Kind.WORD and word.text in ("end", "else"):
                self._next()
                if word.text == "end":
                    self._close("{{end}}")
                return tuple(nodes), word
            nodes.append(self._action(token))

    def _action(self, opened: Token) -> Node:
        word = self._peek()
        name = word.text if word.kind is Kind.WORD else ""
        if name in ("if", "with", "range"):
            self._next()
            return self._block(word)
        if name in ("break", "continue"):
            self._next()
            if not self._n_ranges:
                raise self._error(word, f"{{{{{name}}}}} outside {{{{range}}}}")
            self._close(f"{{{{{name}}}}}")
            return Break(word.offset) if name == "break" else Continue(word.offset)
        if name in _UNSUPPORTED:
            raise self._error(word, f"{{{{{name}}}}} is not supported in a chat template")
        pipeline = self._pipeline("command", opened)
        self._close("command")
        return Action(opened.offset, pipeline)

    def _block(self, word: Token) -> Node:
        n_visible = len(self._variables)
        self._enter(word)
        kind = word.text
        branches: list[Branch] = []
        otherwise: tuple[Node, ...] = ()
        while True:
            pipeline = self._pipeline(kind, word)
            self._close(kind)
            # A break in the else of a range ends the range around it.
            self._n_ranges += kind == "range"
            body, ending = self._list()
            self._n_ranges -= kind == "range"
            branches.append(Branch(pipeline, body))
            if ending.text != "else":
                break
            following = self._peek()
            if kind != "range" and following.kind is Kind.WORD and following.text == kind:
                self._next()
                continue
            self._close("{{else}}")
            otherwise, ending = self._list()
            if ending.text == "else":
                raise self._error(ending, "expected end; found {{else}}")
            break
        if ending.kind is Kind.END:
            raise self._error(word, f"{{{{{kind}}}}} has no {{{{end}}}}: unexpected EOF")
        del self._variables[n_visible:]
        self._depth -= 1
        if kind == "range":
            return Range(word.offset, branches[0].pipeline, branches[0].body, otherwise)
        node = If if kind == "if" else With
        return node(word.offset, tuple(branches), otherwise)

    def _pipeline(self, context: str, start: Token) -> Pipeline:
        variables, is_assignment = self._declared(context)
        commands: list[Command] = []
        while True:
            operands = self._operands()
            if not operands:
                raise self._error(self._peek(), f"missing value for {context}")
            if isinstance(operands[0], Constant) and operands[0].value is None:
                raise error_at(self._source, operands[0].offset, "nil is not a command")
            if commands and isinstance(operands[0], Constant | Dot | Pipeline):
                n = len(commands) + 1
                reason = f"non executable command in pipeline stage {n}"
                raise error_at(self._source, operands[0].offset, reason)
            commands.append(Command(operands[0].offset, operands))
            if not self._take("|"):
                break
        if not is_assignment:
            self._variables += variables
            if len(self._variables) > MAX_VARIABLES:
                raise self._error(start, f"more than {MAX_VARIABLES} variables")
        return Pipeline(start.offset, tuple(commands), variables, is_assignment)

    def _declared(self, context: str) -> tuple[tuple[str, ...], bool]:
        """Read `$x :=`, `$x =` or, in a range, `$i, $x :=`, if one of them begins here.

        Returns the names, and whether they are assigned rather than declared.
        """
        names: list[str] = []
        start = self._at
        while self._peek().kind is Kind.VARIABLE:
            token = self._next()
            names.append(token.text)
            if self._take(":="):
                return tuple(names), False
            if self._take("="):
                for name in names:
                    self._require_variable(name, token)
                return tuple(names), True
            if context != "range" or len(names) == 2 or not self._take(","):
                break
        if len(names) > 1 or (names and self._peek().text == ","):
            raise self._error(self._peek(), f"too many or bad declarations in {context}")
        self._at = start
        return (), False

    def _operands(self) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while True:
            token = self._peek()
            is_dot_or_paren = token.kind is Kind.SIGN and token.text in (".", "(")
            if token.kind not in _OPERANDS and not is_dot_or_paren:
                return tuple(operands)
            if operands and not token.has_space:
                raise self._error(token, f"unexpected {quoted(token.text)} in operand")
            operands.append(self._operand())

    def _operand(self) -> Operand:
        token = self._next()
        at = token.offset
        match token.kind:
            case Kind.FIELD:
                return Field(at, (token.text[1:], *self._fields()))
            case Kind.VARIABLE:
                self._require_variable(token.text, token)
                return Variable(at, token.text, self._fields())
            case Kind.SIGN if token.text == "(":
                return self._parenthesised(token)
            case Kind.SIGN:
                return Dot(at)
            case Kind.WORD if token.text in _CONSTANTS:
                return Constant(at, _CONSTANTS[token.text])
            case Kind.WORD:
                if token.text not in self._functions:
                    raise self._error(token, f'function "{printable(token.text)}" not defined')
                return Function(at, token.text)
        try:
            if token.kind is Kind.NUMBER:
                return Constant(at, number(token.text))
            text = unquoted(token.text)
            if token.kind is not Kind.CHARACTER:
                return Constant(at, text)
            return Constant(at, ord(text))
        except (ValueError, TypeError, OverflowError):
            raise self._error(token, f"bad {token.kind.value} {quoted(token.text)}") from None

    def _parenthesised(self, opened: Token) -> Operand:
        self._enter(opened)
        pipeline = self._pipeline("parenthesized pipeline", opened)
        if not self._take(")"):
            raise self._error(opened, "unclosed left paren")
        self._depth -= 1
        fields = self._fields()
        return Chain(opened.offset, pipeline, fields) if fields else pipeline

    def _fields(self) -> tuple[str, ...]:
        names: list[str] = []
        while (token := self._peek()).kind is Kind.FIELD and not token.has_space:
            names.append(self._next().text[1:])
        return tuple(names)

    def _close(self, context: str) -> None:
        token = self._next()
        if token.kind is not Kind.CLOSE:
            raise self._error(token, f"unexpected {quoted(token.text)} in {context}")

    def _take(self, sign: str) -> bool:
        token = self._peek()
        is_there = token.kind is Kind.SIGN and token.text == sign
        self._at += is_there
        return is_there

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind is not Kind.END:
            self._at += 1
        return token

    def _enter(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(token, f"nested more than {MAX_DEPTH} deep")

    def _require_variable(self, name: str, token: Token) -> None:
        if name not in self._variables:
            raise self._error(token, f'undefined variable "{printable(name)}"')

    def _error(self, token: Token, reason: str) -> TemplateError:
        return error_at(self._source, token.offset, reason)
