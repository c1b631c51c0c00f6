"""Choose the template that renders a conversation to a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from modelfiles.template.go_chat import render_messages
from modelfiles.template.jinja import render_conversation
from modelfiles.template.thoughts import ThoughtTags, tags_in

PLAIN_STOPS = ("\nUser:",)
"""Stop strings of the plain transcript used for a base without a chat template."""

_PLAIN_NOTICE = "The base has no chat template: a plain transcript is used."
_PLAIN_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}


class Origin(StrEnum):
    """The origin of a template, as worded in error messages."""

    MODELFILE = "In the TEMPLATE of the Modelfile"
    BASE = "In the base"
    PLAIN = "In the plain transcript"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How to render a conversation to a prompt, and the stop strings and tags that go with it."""

    render: Callable[[Sequence[Mapping[str, str]]], str]
    """Takes messages with `role` and `content`, oldest first; raises `TemplateError`."""
    origin: Origin
    stops: tuple[str, ...] = ()
    """Stop strings that this format needs."""
    notices: tuple[str, ...] = ()
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

    Without a template, chooses the plain transcript, with a notice. An empty template counts as
    none.

    Args:
        template: The TEMPLATE of the Modelfile, a Go template; takes precedence.
        chat_template: The Jinja chat template of the base, used without a TEMPLATE.
        bos_token: Text of the base's beginning-of-sequence token, for its own template.
        eos_token: Text of the base's end-of-sequence token, for its own template.
        thinks: Whether the model should reason; None leaves it to the template.
    """
    if template:
        render_go = partial(render_messages, template, thinks=thinks)
        return ChatFormat(render_go, Origin.MODELFILE, tags=tags_in(template))
    if chat_template:
        render = partial(
            render_conversation,
            chat_template,
            bos_token=bos_token,
            eos_token=eos_token,
            add_generation_prompt=True,
            thinks=thinks,
        )
        return ChatFormat(render, Origin.BASE, tags=tags_in(chat_template))
    return ChatFormat(_plain_transcript, Origin.PLAIN, PLAIN_STOPS, (_PLAIN_NOTICE,))


def _plain_transcript(messages: Sequence[Mapping[str, str]]) -> str:
    lines = [f"{_PLAIN_NAMES.get(m['role'], m['role'])}: {m['content']}" for m in messages]
    return "\n".join([*lines, "Assistant:"])
