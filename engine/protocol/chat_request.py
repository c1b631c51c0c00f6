"""The conversation to answer, and how: one value from the chat down to the prompt."""

from __future__ import annotations

import msgspec

from engine.protocol.values import ChatMessage
from modelfiles.parameters import Parameters


class ChatRequest(msgspec.Struct, frozen=True):
    """A conversation and how it is to be answered; `msgspec.structs.replace` derives others."""

    messages: tuple[ChatMessage, ...]
    """Oldest first, the system message (if any) first of all; a user message last to be answered,
    while `settle` also takes a conversation without one, or an empty one."""
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    """The sampling ones, num_predict and stop are read."""
    template: str | None = None
    """The TEMPLATE of the Modelfile, a Go template; None for the base's own chat template."""
    thinks: bool | None = None
    """Whether a reasoning model is asked to think; None leaves it to its template."""
    is_raw: bool = False
    """Whether the text of the last message is completed as it is, without a template."""
