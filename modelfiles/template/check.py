"""Check templates on a short conversation, before a model that needs them is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from modelfiles.errors import TemplateError
from modelfiles.template.choose import choose_format
from modelfiles.template.go.nodes import names_in
from modelfiles.template.go.template import parse_go
from modelfiles.wording import hint

REPLACED: Final = "A TEMPLATE in the Modelfile replaces it."
"""What to do about a base's own chat template."""

# Fields of Ollama's template/template.go and api/types.go, of the values at the top, of messages,
# and of tools and their calls.
_FIELDS: Final = frozenset(
    {
        *("System", "Prompt", "Response", "Suffix", "Messages", "Tools"),
        *("Think", "ThinkLevel", "IsThinkSet", "Role", "Content", "Thinking", "Images"),
        *("ToolCalls", "ToolName", "ToolCallID", "ID", "Function", "Index", "Name", "Arguments"),
        *("Type", "Description", "Parameters", "Properties", "Required", "Items", "Enum", "Defs"),
    }
)

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


def unknown_fields(template: str) -> tuple[str, ...]:
    """Return a sentence for each field of a TEMPLATE that nothing fills, with the nearest name.

    Raises `TemplateError` if the template is invalid.
    """
    names = dict.fromkeys(names_in(parse_go(template).nodes))
    known = {name.lower() for name in _FIELDS}
    return tuple(
        f"TEMPLATE writes {{{{ .{name} }}}}, which is always empty{hint(name, _FIELDS)}"
        for name in names
        if name.lower() not in known
    )


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
        return f"In the base, {str(error).rstrip('.')}. {REPLACED}"
    return ""


def check_chat_template(chat_template: str) -> None:
    """Raise `TemplateError` if a base's own template cannot render a question or leaves it out.

    What it makes of system messages and earlier turns depends on the conversation, and is checked
    when it is rendered.
    """
    choose_format(None, chat_template, bos_token="", eos_token="").render([_QUESTION])
