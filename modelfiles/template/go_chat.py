"""From messages to a prompt with a Go TEMPLATE, as Ollama hands them over.

A template that mentions `.Messages` sees the whole conversation at once. An older one, made of
`.System`, `.Prompt` and `.Response`, is rendered once for each turn, and the last time only up to
its first `.Response`, where the answer is to go on.
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

_SAMPLE = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "How are you?"},
)
_SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class _ChatTemplate:
    whole: GoTemplate
    """The template, in its older form with `.Response` at the end where it has none."""
    until_response: GoTemplate | None
    """Cut after the first `.Response`; None where the template takes all messages at once."""


def check_template(template: str) -> None:
    """Raise `TemplateError`, with line and column, where a template cannot serve in a chat.

    It is parsed, and rendered for a short conversation: fields that messages lack are found
    there.
    """
    render_messages(template, _SAMPLE)


def render_messages(
    template: str, messages: Sequence[Mapping[str, str]], *, thinks: bool | None = None
) -> str:
    """Return the prompt for a conversation.

    Args:
        template: The text of a TEMPLATE.
        messages: Oldest first, each with `role` and `content`, perhaps `thinking` and
            `tool_name`. A last message of the assistant is left open, to be continued.
        thinks: Whether the model is asked to reason; None where nothing was said about it.

    Raises:
        TemplateError: The template is wrong, with line and column, or exceeds its bounds.
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
    """Join messages in a row of the same role, a blank line between them; never those of tools."""
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
    # What of a turn must be empty still for a message to belong to it.
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
    """Return `nodes` up to the first action that has `.Response`, and whether there is one.

    The condition of a block does not count, nor does `$.Response`.
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
                        # Only its condition is needed, as that decides what comes next.
                        shortened.append(Branch(branch.pipeline, ()))
                        continue
                    body, is_found = _cut(branch.body)
                    shortened.append(Branch(branch.pipeline, body))
                if is_found:
                    otherwise = ()
                else:
                    otherwise, is_found = _cut(otherwise)
                node = type(node)(offset, tuple(shortened), otherwise)
            case Range(offset, pipeline, body, otherwise):
                body, is_found = _cut(body)
                if is_found:
                    otherwise = ()
                else:
                    otherwise, is_found = _cut(otherwise)
                node = Range(offset, pipeline, body, otherwise)
        kept.append(node)
        if is_found:
            return tuple(kept), True
    return tuple(kept), False
