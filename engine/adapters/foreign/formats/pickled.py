"""Interpret the pickle in a torch file without running it.

A pickle is a program that may call any function. This interpreter supports only the instructions
that `torch.save` writes for tensors, imports nothing and calls nothing: the few functions that
rebuild tensors become plain values, and every other one is refused by name. Source: Python's
`pickletools`; `torch._weights_only_unpickler` works in the same way.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from modelfiles.wording import shown

MAX_STACK: Final = 1_000_000


class PickleError(ValueError):
    """A fault of a pickle, worded as part of a sentence."""


class ForeignFunctionError(ValueError):
    """Name of a function that the pickle imports but no tensor needs."""


@dataclass(frozen=True, slots=True)
class Function:
    """A name that the pickle imports, such as `torch.FloatStorage`; it is not imported here."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function call of the pickle, recorded instead of executed."""

    function: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A persistent id: that of a storage, whose bytes are outside the pickle."""

    identity: object


class _Mark:
    """Marks the start of a tuple, list or dict on the stack."""


_MARK: Final = _Mark()


def interpret(pickle: bytes, functions: frozenset[str]) -> object:
    """Return the value of a pickle that names only these functions.

    Returns dicts for `collections.OrderedDict`. Raises `PickleError` if the pickle is damaged,
    `ForeignFunctionError` if it names another function. Time and memory are proportional to its
    length.
    """
    machine = _Machine(functions)
    try:
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (PickleError, ForeignFunctionError):
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error, EOFError):
        raise PickleError("its pickle is cut short or contradicts itself") from None
    raise PickleError("its pickle has no end")


class _Machine:
    """The stack and the memo of one pickle."""

    __slots__ = ("_functions", "_memo", "_stack")

    def __init__(self, functions: frozenset[str]) -> None:
        self._functions = functions
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def pop(self) -> object:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("its pickle contradicts itself")
        return value

    def step(self, name: str, argument: object) -> None:
        if name in _IGNORED:
            return
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[_integer(argument)] = self._stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[_integer(argument)])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n_values = int(name[-1])
            values = tuple(self.pop() for _ in range(n_values))[::-1]
            self._stack.append(values)
        else:
            step = _STEPS.get(name)
            if step is None:
                raise PickleError(
                    f"its pickle holds the instruction {name}, which tensors never need"
                )
            step(self, argument)
        if len(self._stack) > MAX_STACK:
            raise PickleError("its pickle is nested too deeply")

    def tuple_(self, _: object) -> None:
        self._stack.append(tuple(self._from_mark()))

    def global_(self, argument: object) -> None:
        self._import(*str(argument).split(" ", 1))

    def stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        self._import(str(module), str(name))

    def reduce(self, _: object) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise PickleError("its pickle calls something that is not a function")
        if function.name == "collections.OrderedDict":
            if arguments:
                raise PickleError("its pickle fills a table as torch never does")
            self._stack.append({})
        else:
            self._stack.append(Call(function.name, arguments))

    def persistent(self, _: object) -> None:
        self._stack.append(Reference(self.pop()))

    def set_item(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self._fill([key, value])

    def set_items(self, _: object) -> None:
        self._fill(self._from_mark())

    def append(self, _: object) -> None:
        value = self.pop()
        self._list().append(value)

    def appends(self, _: object) -> None:
        values = self._from_mark()
        self._list().extend(values)

    def build(self, _: object) -> None:
        # The state of a dict or a tensor: attributes such as `_metadata`, not needed here.
        self.pop()
        if not isinstance(self._stack[-1], (dict, Call)):
            raise PickleError("its pickle sets attributes of something without any")

    def _import(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in self._functions and full != "collections.OrderedDict":
            raise ForeignFunctionError(shown(full)[1:-1])
        self._stack.append(Function(full))

    def _from_mark(self) -> list[object]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise PickleError("its pickle contradicts itself")
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def _fill(self, pairs: list[object]) -> None:
        table = self._stack[-1]
        if not isinstance(table, dict) or len(pairs) % 2:
            raise PickleError("its pickle fills something that is not a table")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Other keys may be nested tuples that take too long to hash.
            if not isinstance(key, (str, int)):
                raise PickleError("its pickle has a table with keys that are not text")
            table[key] = value

    def _list(self) -> list[object]:
        made = self._stack[-1]
        if not isinstance(made, list):
            raise PickleError("its pickle fills something that is not a list")
        return made


def _integer(value: object) -> int:
    if not isinstance(value, int):
        _refuse("its pickle counts with something that is not a number")
    return value


def _refuse(fault: str) -> NoReturn:
    raise PickleError(fault)


_IGNORED: Final = frozenset(("PROTO", "FRAME"))
_LITERALS: Final = frozenset(
    (
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
        *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
    )
)
_CONSTANTS: Final[dict[str, Callable[[], object]]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_STEPS: Final[dict[str, Callable[[_Machine, object], None]]] = {
    "TUPLE": _Machine.tuple_,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BINPERSID": _Machine.persistent,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "BUILD": _Machine.build,
}
