"""Run a chat session without a screen, and record its callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.protocol.engine import Engine
from modelfiles.model import Model
from tui.chat.session.meter import Phase
from tui.chat.session.observer import Severity
from tui.chat.session.session import ChatSession
from tui.conversation import Answer, Entry
from tui.settings import Settings


@dataclass(slots=True)
class Notes:
    """Records the session's callbacks."""

    told_sentences: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def session_changed(self) -> None:
        self.events.append("session")

    def mix_changed(self) -> None:
        self.events.append("mix")

    def facts_changed(self) -> None:
        self.events.append("facts")

    def chat_restarted(self) -> None:
        self.events.append("restart")

    def entry_added(self, entry: Entry) -> None:
        self.events.append(type(entry).__name__)

    def entry_removed(self, entry: Entry) -> None:
        self.events.append("removed")

    def answer_grew(self, answer: Answer) -> None:
        self.events.append("grew")

    def answer_ended(self, answer: Answer) -> None:
        self.events.append("ended")

    def told(self, sentence: str, severity: Severity) -> None:
        self.told_sentences.append(sentence)


async def opened(
    engine: Engine,
    model: Model,
    settings: Settings = Settings(),  # noqa: B008  # immutable
) -> tuple[ChatSession, Notes]:
    """Return a session that has loaded a model."""
    notes = Notes()
    session = ChatSession(engine, notes, settings=settings)
    await session.open(model)
    return session, notes


async def came_true(is_true: Callable[[], object], what: str) -> None:
    """Run the event loop until a condition holds; fail with `what` if it never does."""
    for _ in range(1000):
        if is_true():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"never happened: {what}")


async def reached(session: ChatSession, phase: Phase) -> None:
    """Run the event loop until the session is in a phase."""
    await came_true(lambda: session.phase is phase, f"the phase {phase}")
