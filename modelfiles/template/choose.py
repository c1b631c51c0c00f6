"""Which template a conversation is written with."""

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
    """Where a template comes from, as an error about it says."""

    MODELFILE = "In the TEMPLATE of the Modelfile"
    BASE = "In the base"
    PLAIN = "In the plain transcript"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How a conversation becomes the text of a prompt."""

    render: Callable[[Sequence[Mapping[str, str]]], str]
    """Takes messages with `role` and `content`, oldest first; raises `TemplateError`."""
    origin: Origin
    stops: tuple[str, ...] = ()
    """Stop strings this way of writing needs."""
    notices: tuple[str, ...] = ()
    tags: ThoughtTags | None = None
    """Tags of the thoughts that the template knows of."""


def choose_format(
    template: str | None,
    chat_template: str | None,
    *,
    bos_token: str,
    eos_token: str,
    thinks: bool | None = None,
) -> ChatFormat:
    """Choose how to write a conversation.

    Args:
        template: The TEMPLATE of the Modelfile, a Go template; it always wins.
        chat_template: The Jinja chat template of the base, used where there is no TEMPLATE.
        bos_token: Text of the base's first token, for its own template.
        eos_token: Text of the base's last token, for its own template.
        thinks: Whether the model is asked to reason; None leaves it to the template.

    Without either, the plain transcript is used, and a notice says so. An empty template counts
    as none.
    """
    if template:
        render_go = partial(render_messages, template, thinks=thinks)
        return ChatFormat(render_go, Origin.MODELFILE, tags=tags_in(template))
    if chat_template:

        def render(messages: Sequence[Mapping[str, str]]) -> str:
            return render_conversation(
                chat_template,
                messages,
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
