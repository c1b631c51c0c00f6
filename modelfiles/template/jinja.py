"""Render Jinja chat templates in a sandbox, within bounds.

The template of a GGUF file is untrusted code: it runs in Jinja's immutable sandbox, its loops and
macro calls are counted, and its arithmetic and output are limited in size. All other settings
match those of transformers and llama-cpp-python, since templates are written for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from modelfiles.errors import TemplateError
from modelfiles.template.bounds import Budget, limit_length, limit_widths
from modelfiles.template.whole import Message, TemplateFormError
from modelfiles.wording import shortened

_MAX_POWER = 1024
_STEP = "_count_step"
_CONCAT = "_concat"


def render_chat(
    template: str,
    messages: Sequence[Message],
    *,
    bos_token: str,
    eos_token: str,
    add_generation_prompt: bool,
    thinks: bool | None = None,
) -> str:
    """Render a conversation with a model's own Jinja template.

    `messages` have `role` and `content`; the tokens are the texts of the model's special tokens.
    `thinks` says whether a reasoning model should think; None leaves it to the template.
    Raises `TemplateFormError` if the template rejects the conversation or fails on it, and
    `TemplateError` if it is not valid Jinja or exceeds the bounds of `modelfiles.template.bounds`.
    """
    budget = Budget()
    compiled = _compile(template)
    try:
        parts = []
        n_characters = 0
        for part in compiled.generate(
            {
                "messages": [dict(message) for message in messages],
                "bos_token": bos_token,
                "eos_token": eos_token,
                "add_generation_prompt": add_generation_prompt,
                "tools": None,
                "documents": None,
                "raise_exception": _refuse,
                "strftime_now": _strftime_now,
                **({} if thinks is None else {"enable_thinking": thinks, "thinking": thinks}),
                _STEP: budget.step,
                _CONCAT: _concat,
            }
        ):
            n_characters += len(part)
            limit_length(n_characters)
            parts.append(part)
        return "".join(parts)
    except TemplateError:
        raise
    except SecurityError as error:
        raise TemplateError(f"the chat template tries what it may not do: {error}") from None
    except RecursionError:
        raise TemplateError("the chat template calls itself without end") from None
    # A template is code and can raise any exception.
    except Exception as error:
        reason = shortened(error) or type(error).__name__
        raise TemplateFormError(f"the chat template failed: {reason}") from error


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` of transformers, which marks text for training and prints it unchanged."""

    tags = {"generation"}  # noqa: RUF012 (the type that Jinja declares for it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with operators and string methods that refuse to build huge values."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (abs(left) > _MAX_POWER or abs(right) > _MAX_POWER):
            raise TemplateError("the chat template computes a number that is too large")
        if operator == "%":
            limit_widths(left)
        if operator == "*":
            limit_length(_length(left) * abs(right) if isinstance(right, int) else 0)
            limit_length(_length(right) * abs(left) if isinstance(left, int) else 0)
        result = super().call_binop(context, operator, left, right)
        limit_length(_length(result))
        return result

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The sandbox wraps `str.format` in its own function.
        method = getattr(function, "__wrapped__", function)
        if isinstance(text := getattr(method, "__self__", None), str):
            limit_widths(text, *args, *kwargs.values())
        return super().call(context, function, *args, **kwargs)


class _Bounded(NodeTransformer):
    """Adds a step count to loops and macros, and a length check to `~`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        node.body.insert(0, _call_step(node.lineno))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        node.body.insert(0, _call_step(node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        function = nodes.Name(_CONCAT, "load", lineno=node.lineno)
        return nodes.Call(function, node.nodes, [], None, None, lineno=node.lineno)


def _call_step(line: int) -> nodes.Node:
    function = nodes.Name(_STEP, "load", lineno=line)
    return nodes.Output([nodes.Call(function, [], [], None, None, lineno=line)], lineno=line)


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = _tojson
    for name in ("center", "format", "indent"):
        environment.filters[name] = _with_limited_widths(environment.filters[name])
    try:
        tree = _Bounded().visit(environment.parse(template))
        code = environment.compile(tree)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"the chat template cannot be read, line {error.lineno}: {error.message}"
        ) from None
    # Python raises SyntaxError for deep nesting in the code that Jinja generates.
    except (RecursionError, MemoryError, SyntaxError):
        raise TemplateError("the chat template is nested too deeply") from None
    return jinja2.Template.from_code(environment, code, environment.make_globals(None))


def _refuse(message: object) -> NoReturn:
    raise TemplateFormError(f"the chat template refuses the conversation: {shortened(message)}")


def _concat(*values: object) -> str:
    texts = [str(value) for value in values]
    limit_length(sum(len(text) for text in texts))
    return "".join(texts)


def _length(value: object) -> int:
    if isinstance(value, int):
        return value.bit_length() // 8
    return len(value) if isinstance(value, str | list | tuple) else 0


def _with_limited_widths(text_filter: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(text_filter)
    def limited(*values: Any, **options: Any) -> Any:
        limit_widths(*values, *options.values())
        return text_filter(*values, **options)

    return limited


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON as transformers does; Jinja's own filter escapes it for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
