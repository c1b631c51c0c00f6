"""Render a conversation so that the text of every message stands in the prompt.

Some templates read `message.content` as a list of parts, as those of vision models do, and print
nothing for a plain string: the question would be missing from the prompt without an error. Others
ignore the system message. A template is therefore tried with the forms of a conversation that
templates are written for, until nothing is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from modelfiles.errors import TemplateError
from modelfiles.template.thoughts import KNOWN_TAGS
from modelfiles.wording import quoted


class TemplateFormError(TemplateError):
    """The template fails on a conversation in this form, or refuses it; another one may do."""


class TemplateLossError(TemplateError):
    """The template leaves a message out of the prompt."""


Message = Mapping[str, Any]
"""`role`, and `content` as a text or as a list of parts."""
Render = Callable[[Sequence[Message]], str]
Form = Callable[[Sequence[Mapping[str, str]]], Sequence[Message] | None]
"""Rewrites a conversation for a template; returns None if the form does not apply to it."""

# Special tokens, which templates remove from what users and models write.
_MARKUP: Final = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]|\s+")


def plain(messages: Sequence[Mapping[str, str]]) -> Sequence[Message]:
    """Keep every content a text."""
    return messages


def in_parts(messages: Sequence[Mapping[str, str]]) -> Sequence[Message]:
    """Make every content a list of one text part, as templates of vision models read it."""
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]


def system_in_user(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]] | None:
    """Move leading system messages into the first user message, separated by blank lines.

    Returns None if the conversation does not begin with a system message followed by a user's.
    """
    n_system = 0
    while n_system < len(messages) and messages[n_system]["role"] == "system":
        n_system += 1
    if n_system == 0 or n_system == len(messages) or messages[n_system]["role"] != "user":
        return None
    texts = [message["content"] for message in messages[: n_system + 1]]
    first = {**messages[n_system], "content": "\n\n".join(text for text in texts if text)}
    return [first, *(dict(message) for message in messages[n_system + 1 :])]


def _system_in_user_in_parts(messages: Sequence[Mapping[str, str]]) -> Sequence[Message] | None:
    merged = system_in_user(messages)
    return None if merged is None else in_parts(merged)


TEXT_FORMS: Final[tuple[Form, ...]] = (plain, system_in_user)
"""Forms for Go templates, whose `.Content` is a text."""
FORMS: Final[tuple[Form, ...]] = (*TEXT_FORMS, in_parts, _system_in_user_in_parts)
"""Forms for Jinja templates."""


def render_whole(
    render: Render,
    messages: Sequence[Mapping[str, str]],
    forms: Sequence[Form],
) -> str:
    """Render messages in the first of `forms` that leaves none of them out.

    Args:
        render: Renders a conversation with the template.
        messages: Oldest first, each with `role` and `content`.
        forms: The forms to try, the likeliest first.

    Raises:
        TemplateError: Every form fails, is refused, or leaves a message out.
    """
    problems: list[TemplateError] = []
    for form in forms:
        rewritten = form(messages)
        if rewritten is None:
            continue
        try:
            return _render_all(render, messages, rewritten)
        except (TemplateFormError, TemplateLossError) as error:
            problems.append(error)
    losses = (problem for problem in problems if isinstance(problem, TemplateLossError))
    raise next(losses, problems[0])


def ordered_forms(render: Render, roles: Sequence[str], forms: Sequence[Form]) -> tuple[Form, ...]:
    """Return `forms`, first the one that keeps all of a few marked messages with these roles.

    A short message such as "1" can stand in a prompt by chance; a mark cannot.
    """
    marked = [{"role": role, "content": f"zqxv{n}vxqz"} for n, role in enumerate(roles)]
    for form in forms:
        rewritten = form(marked)
        if rewritten is not None:
            with suppress(TemplateError):
                _render_all(render, marked, rewritten)
                return (form, *(other for other in forms if other is not form))
    return tuple(forms)


def lost_messages(prompt: str, messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the messages whose text is not in the prompt.

    White space, special tokens, JSON's escapes, and the thoughts in an assistant's message may
    differ: templates trim, remove and escape these.
    """
    start = 0
    bare_prompt: str | None = None
    lost = []
    for message in messages:
        text = message["content"].strip()
        found = prompt.find(text, start)
        if found >= 0:
            start = found + len(text)
            continue
        if bare_prompt is None:
            bare_prompt = _bare(prompt)
        if not any(_bare(variant) in bare_prompt for variant in _variants(text, message["role"])):
            lost.append(message)
    return lost


def _render_all(
    render: Render, messages: Sequence[Mapping[str, str]], rewritten: Sequence[Message]
) -> str:
    """Render `rewritten`; raise `TemplateLossError` if a text of `messages` is missing then."""
    prompt = render(rewritten)
    lost = lost_messages(prompt, messages)
    if lost:
        raise TemplateLossError(_loss(lost))
    contents = (message["content"] for message in rewritten)
    if any(isinstance(content, list) and str(content) in prompt for content in contents):
        raise TemplateFormError("the chat template prints a list of parts as it is")
    return prompt


def _variants(text: str, role: str) -> tuple[str, ...]:
    escaped = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    if role != "assistant":
        return (text, *escaped)
    answers = (text.rpartition(tags.closing)[2] for tags in KNOWN_TAGS if tags.closing in text)
    return (text, *escaped, *answers)


def _bare(text: str) -> str:
    return _MARKUP.sub("", text)


def _loss(messages: Sequence[Mapping[str, str]]) -> str:
    lost = next((message for message in messages if message["role"] == "user"), messages[0])
    of = {"user": "the question", "system": "the system prompt", "assistant": "an answer"}
    what = of.get(lost["role"], f"the message of the role {quoted(lost['role'])}")
    return f"the chat template leaves {what} out of the prompt: {quoted(lost['content'].strip())}"
