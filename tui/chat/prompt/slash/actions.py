"""Compute what commands need: refusals, the current model, and the texts of `/show` and `/?`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from textwrap import dedent
from typing import TYPE_CHECKING, cast

from engine.gguf.base_facts import BaseFacts
from engine.stack import AdapterStack
from modelfiles.language.modelfile import generated_text
from modelfiles.model import AdapterSpec, Message, Model, Role
from tui.chat.prompt.slash.table import TABLE, Need, Row, Verb, row_of
from tui.chat.session.meter import Phase
from tui.chat.session.observer import ANSWERING, NO_MODEL
from tui.conversation import Conversation
from tui.text.model_page import overview, parameter_rows
from tui.text.tables import table_lines
from tui.text.units import age_text, size_text

if TYPE_CHECKING:
    from modelfiles.library import ListedModel

_LOADING = "The model is being loaded: wait for it."

HOW_TO_SEND = (
    "Tab completes a command. A message that begins like one is sent with two slashes: //show me"
)


def refusal(verb: Verb, phase: Phase) -> str | None:
    """Return why a command cannot run now, or None if it can."""
    need = row_of(verb).need
    if need is Need.NOTHING:
        return None
    if phase is Phase.LOADING:
        return _LOADING
    if phase is Phase.EMPTY:
        return None if need is Need.NO_ANSWER else NO_MODEL
    return None if phase is Phase.READY or need is Need.MODEL else ANSWERING


def model_of_now(model: Model, stack: AdapterStack, conversation: Conversation) -> Model:
    """Return the model that `/save` creates: the stack of the rack and the conversation so far.

    An adapter that is switched off gets scale 0. A last question without an answer is left out: a
    chat would have to begin with two questions in a row, which many chat templates refuse.
    """
    adapters = tuple(
        AdapterSpec(entry.adapter.name, entry.adapter.file, entry.scale if entry.is_enabled else 0)
        for entry in stack
    )
    sent = conversation.prompt()
    messages = [Message(cast(Role, m.role), m.content) for m in sent[bool(conversation.system) :]]
    while messages and messages[-1].role == "user" and len(messages) > len(conversation.opening):
        messages.pop()
    return replace(model, adapters=adapters, messages=tuple(messages))


def shown_text(verb: Verb, model: Model, stack: AdapterStack, base: BaseFacts) -> str:
    """Return the text that a `/show` command prints about the current model.

    Raises `ModelfilesError` if a text cannot be written in a Modelfile.
    """
    match verb:
        case Verb.SHOW_INFO:
            adapters = [entry.adapter for entry in stack]
            return dedent(overview(model, base, adapters, None))
        case Verb.SHOW_LICENSE:
            return "\n\n".join(model.licenses) or _none("license")
        case Verb.SHOW_MODELFILE:
            return generated_text(model)
        case Verb.SHOW_PARAMETERS:
            return _parameters_text(model)
        case Verb.SHOW_SYSTEM:
            return model.system or _none("system message")
        case _:
            own = model.template or base.chat_template
            return own or _none("template")


def help_text(topic: str = "") -> str:
    """Return the help on all commands, or on those whose first word is `topic`."""
    rows = [row for row in TABLE if not topic or row.words[0] == f"/{topic}"]
    width = max(len(_typed(row)) for row in TABLE)
    lines = [f"{_typed(row):<{width}}  {row.description.replace('`', '')}" for row in rows]
    return "\n".join([*lines, "", HOW_TO_SEND] if not topic else lines)


def models_text(models: Sequence[ListedModel], now: datetime) -> str:
    """Return the models as a table, in the given order."""
    rows: list[Iterable[str]] = [("NAME", "SIZE", "ADAPTERS", "MODIFIED")]
    for model in models:
        when = age_text(model.modified, now) if model.origin == "created" else model.origin
        rows.append((model.name, size_text(model.size_bytes), str(model.n_adapters), when))
    return "\n".join(table_lines([tuple(row) for row in rows]))


def _typed(row: Row) -> str:
    return f"{row.usage}, {row.alias}" if row.alias else row.usage


def _parameters_text(model: Model) -> str:
    rows = parameter_rows(model.parameters)
    return "\n".join(table_lines(rows)) if rows else _none("parameters")


def _none(what: str) -> str:
    verb = "were" if what.endswith("s") else "was"
    return f"No {what} {verb} specified for this model."
