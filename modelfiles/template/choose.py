"""Choose the template that renders a conversation to a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial

from modelfiles.template.go_chat import render_messages
from modelfiles.template.jinja import render_chat
from modelfiles.template.thoughts import ThoughtTags, tags_in
from modelfiles.template.whole import FORMS, TEXT_FORMS, Form, Render, ordered_forms, render_whole

PLAIN_STOPS = ("\nUser:", "\nAssistant:", "\nSystem:")
"""Stop strings of the plain transcript used for a base without a chat template: a pretrained base
goes on with either side."""

_PLAIN_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}


class Origin(StrEnum):
    """The origin of a template, as worded in error messages."""

    MODELFILE = "In the TEMPLATE of the Modelfile"
    BASE = "In the base"
    PLAIN = "In the plain transcript"
    RAW = "In the raw text"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How to render a conversation to a prompt, and the stop strings and tags that go with it."""

    render: Callable[[Sequence[Mapping[str, str]]], str]
    """Takes messages with `role` and `content`, oldest first; raises `TemplateError`."""
    origin: Origin
    stops: tuple[str, ...] = ()
    """Stop strings that this format needs."""
    tags: ThoughtTags | None = None
    """The thought tags that the template mentions; None if it has none."""


def choose_format(
    template: str | None,
    chat_template: str | None,
    *,
    bos_token: str,
    eos_token: str,
    thinks: bool | None = None,
) -> ChatFormat:
    """Choose the format of a conversation's prompt.

    Without a template, chooses the plain transcript. An empty template counts as
    none.

    Args:
        template: The TEMPLATE of the Modelfile, a Go template; takes precedence.
        chat_template: The Jinja chat template of the base, used without a TEMPLATE.
        bos_token: Text of the base's beginning-of-sequence token, for its own template.
        eos_token: Text of the base's end-of-sequence token, for its own template.
        thinks: Whether the model should reason; None leaves it to the template.
    """
    if template:
        go = partial(_go, template, thinks)
        return ChatFormat(go, Origin.MODELFILE, tags=tags_in(template))
    if chat_template:
        jinja = partial(_jinja, chat_template, (bos_token, eos_token), thinks)
        return ChatFormat(jinja, Origin.BASE, tags=tags_in(chat_template))
    return ChatFormat(_plain_transcript, Origin.PLAIN, PLAIN_STOPS)


def raw_format() -> ChatFormat:
    """Return the format that completes the text of the last message as it is."""
    return ChatFormat(lambda messages: messages[-1]["content"], Origin.RAW)


def _go(template: str, thinks: bool | None, messages: Sequence[Mapping[str, str]]) -> str:
    render = partial(render_messages, template, thinks=thinks)
    return render_whole(render, messages, _go_forms(template, thinks, _pattern(messages)))


def _jinja(
    chat_template: str,
    tokens: tuple[str, str],
    thinks: bool | None,
    messages: Sequence[Mapping[str, str]],
) -> str:
    forms = _jinja_forms(chat_template, tokens, thinks, _pattern(messages))
    return render_whole(_jinja_render(chat_template, tokens, thinks), messages, forms)


def _jinja_render(chat_template: str, tokens: tuple[str, str], thinks: bool | None) -> Render:
    bos_token, eos_token = tokens
    return partial(
        render_chat,
        chat_template,
        bos_token=bos_token,
        eos_token=eos_token,
        add_generation_prompt=True,
        thinks=thinks,
    )


@lru_cache(maxsize=32)
def _go_forms(template: str, thinks: bool | None, roles: tuple[str, ...]) -> tuple[Form, ...]:
    render = partial(render_messages, template, thinks=thinks)
    return ordered_forms(render, roles, TEXT_FORMS)


@lru_cache(maxsize=32)
def _jinja_forms(
    chat_template: str, tokens: tuple[str, str], thinks: bool | None, roles: tuple[str, ...]
) -> tuple[Form, ...]:
    render = _jinja_render(chat_template, tokens, thinks)
    return ordered_forms(render, roles, FORMS)


def _pattern(messages: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Return the roles of a short conversation like this one: its system message and last turns."""
    roles = [message["role"] for message in messages]
    system = roles[:1] if roles[:1] == ["system"] else []
    return (*system, *roles[len(system) :][-3:])


def _plain_transcript(messages: Sequence[Mapping[str, str]]) -> str:
    lines = [f"{_PLAIN_NAMES.get(m['role'], m['role'])}: {m['content']}" for m in messages]
    return "\n".join([*lines, "Assistant:"])
