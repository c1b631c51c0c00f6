"""Render messages to a prompt with a Go TEMPLATE, as Ollama does.

A template that mentions `.Messages` receives the whole conversation at once. An older one, with
`.System`, `.Prompt` and `.Response`, is rendered once for each turn, the last time only up to its
first `.Response`, where the answer continues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from modelfiles.template.go.nodes import (
    Action,
    Branch,
    Command,
    Field,
    If,
    Node,
    Pipeline,
    Range,
    With,
    names_in,
    names_of,
)
from modelfiles.template.go.template import GoTemplate, parse_go
from modelfiles.template.go.values import Struct, Value

_SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class _ChatTemplate:
    whole: GoTemplate
    """The template; if it has neither `.Messages` nor `.Response`, with `.Response` appended."""
    until_response: GoTemplate | None
    """Cut after the first `.Response`; None if the template takes all messages at once."""


def render_messages(
    template: str, messages: Sequence[Mapping[str, str]], *, thinks: bool | None = None
) -> str:
    """Return the prompt for a conversation.

    Args:
        template: The text of a TEMPLATE.
        messages: Oldest first, each with `role` and `content`, optionally `thinking` and
            `tool_name`. A last message of the assistant is left open, to be continued.
        thinks: Whether the model should reason; None if not specified.

    Raises:
        TemplateError: The template is invalid, fails on the messages, or exceeds its bounds.
    """
    parsed = _parsed(template)
    merged = merge_roles(messages)
    wish: dict[str, Value] = {
        "Think": bool(thinks),
        "ThinkLevel": "",
        "IsThinkSet": thinks is not None,
    }
    if parsed.until_response is not None:
        return _turn_by_turn(parsed.whole, parsed.until_response, merged, wish)
    return parsed.whole.render(
        {
            "System": _SEPARATOR.join(m["content"] for m in merged if m["role"] == "system"),
            "Messages": [_message(message) for message in merged],
            "Tools": [],
            "Response": "",
            **wish,
        }
    )


def merge_roles(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Join consecutive messages of the same role with a blank line, except tool messages."""
    merged: list[Mapping[str, str]] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is not None and last["role"] == message["role"] != "tool":
            content = f"{last['content']}{_SEPARATOR}{message['content']}"
            merged[-1] = {**last, "content": content}
        else:
            merged.append(message)
    return merged


def _message(message: Mapping[str, str]) -> Struct:
    fields: dict[str, Value] = {
        "Role": message["role"],
        "Content": message["content"],
        "Thinking": message.get("thinking", ""),
        "Images": [],
        "ToolCalls": [],
        "ToolName": message.get("tool_name", ""),
        "ToolCallID": "",
    }
    return Struct("Message", fields, required=("Role", "Content"))


def _turn_by_turn(
    whole: GoTemplate,
    until_response: GoTemplate,
    messages: Sequence[Mapping[str, str]],
    wish: Mapping[str, Value],
) -> str:
    turns: list[dict[str, Value]] = []
    empty: dict[str, Value] = {"System": "", "Prompt": "", "Response": "", **wish}
    turn = empty
    # `later`: the fields of a turn that must still be empty for a message of a role to join it.
    names = {"system": "System", "user": "Prompt", "assistant": "Response"}
    later = {"system": ("Prompt", "Response"), "user": ("Response",), "assistant": ()}
    for message in messages:
        role = message["role"]
        if role not in names:
            continue
        if any(turn[name] for name in later[role]):
            turns.append(turn)
            turn = empty
        turn = {**turn, names[role]: message["content"]}
    return "".join([*(whole.render(turn) for turn in turns), until_response.render(turn)])


@lru_cache(maxsize=8)
def _parsed(template: str) -> _ChatTemplate:
    parsed = parse_go(template)
    mentioned = {name.lower() for name in names_in(parsed.nodes)}
    if "messages" in mentioned:
        return _ChatTemplate(parsed, None)
    nodes = parsed.nodes
    if "response" not in mentioned:
        end = len(template)
        response = Pipeline(end, (Command(end, (Field(end, ("Response",)),)),))
        nodes = (*nodes, Action(end, response))
    cut, _ = _cut(nodes)
    return _ChatTemplate(GoTemplate(template, nodes), GoTemplate(template, cut))


def _cut(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], bool]:
    """Return `nodes` up to the first action with `.Response`, and whether there is one.

    Ignores conditions of blocks and `$.Response`.
    """
    kept: list[Node] = []
    for node in nodes:
        is_found = False
        match node:
            case Action(_, pipeline):
                is_found = "Response" in names_of(pipeline, is_of_variables=False)
            case If(offset, branches, otherwise) | With(offset, branches, otherwise):
                shortened: list[Branch] = []
                for branch in branches:
                    if is_found:
                        # Its condition is still needed, to decide whether a later branch runs.
                        shortened.append(Branch(branch.pipeline, ()))
                        continue
                    body, is_found = _cut(branch.body)
                    shortened.append(Branch(branch.pipeline, body))
                otherwise, is_found = ((), True) if is_found else _cut(otherwise)
                node = type(node)(offset, tuple(shortened), otherwise)
            case Range(offset, pipeline, body, otherwise):
                body, is_found = _cut(body)
                otherwise, is_found = ((), True) if is_found else _cut(otherwise)
                node = Range(offset, pipeline, body, otherwise)
        kept.append(node)
        if is_found:
            return tuple(kept), True
    return tuple(kept), False
