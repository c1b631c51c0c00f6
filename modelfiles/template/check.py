"""Check templates on a short conversation, before a model that needs them is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from modelfiles.errors import TemplateError
from modelfiles.template.choose import choose_format

_QUESTION: Final = {"role": "user", "content": "What is the capital of Peru?"}
_CONVERSATION: Final[Sequence[Mapping[str, str]]] = (
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is the capital of Chile?"},
    {"role": "assistant", "content": "Santiago."},
    _QUESTION,
)


def check_template(template: str) -> None:
    """Raise `TemplateError`, with line and column if known, if a TEMPLATE cannot render a chat.

    Renders a short conversation, which finds fields that messages lack and messages left out.
    """
    choose_format(template, None, bos_token="", eos_token="").render(_CONVERSATION)


def template_problem(chat_template: str | None) -> str:
    """Return why a chat with a base needs a TEMPLATE, as one sentence; empty if it needs none."""
    if not chat_template:
        return (
            "The base has no chat template and may be no chat model: it continues a plain "
            "transcript. A TEMPLATE in the Modelfile says how to ask it."
        )
    try:
        check_chat_template(chat_template)
    except TemplateError as error:
        return f"In the base, {error}. A TEMPLATE in the Modelfile replaces it."
    return ""


def check_chat_template(chat_template: str) -> None:
    """Raise `TemplateError` if a base's own template cannot render a question or leaves it out.

    What it makes of system messages and earlier turns depends on the conversation, and is checked
    when it is rendered.
    """
    choose_format(None, chat_template, bos_token="", eos_token="").render([_QUESTION])
