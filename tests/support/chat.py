"""Drive the chat in tests: start it without a terminal and wait for its screen."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.events import Key
from textual.pilot import Pilot

from engine.protocol.engine import Engine
from modelfiles.model import AdapterSpec, Message, Model
from modelfiles.parameters import Parameters
from tests.support.tiny_models import write_adapter, write_base
from tui.chat.app import ChatApp
from tui.chat.session.meter import Phase
from tui.conversation import Answer, AnswerState

_PATIENCE_S = 120.0


async def wait_until(pilot: Pilot[int], is_true: Callable[[], object], what: str) -> None:
    """Run the application until a condition holds; fail with `what` if it never does."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline_s, f"never happened: {what}"
        await pilot.pause()


@asynccontextmanager
async def chat(
    engine: Engine,
    model: Model | None,
    size: tuple[int, int] = (120, 40),
    *,
    is_loaded: bool = True,
) -> AsyncIterator[tuple[ChatApp, Pilot[int]]]:
    """Start the chat; with `is_loaded`, wait until the model is ready."""
    app = ChatApp(engine, model)
    async with app.run_test(size=size) as pilot:
        if is_loaded:
            await ready(app, pilot)
        yield app, pilot


async def ready(app: ChatApp, pilot: Pilot[int]) -> None:
    """Wait until the engine is idle and all updates of the screen are drawn."""
    session = app.chat.session

    def is_ready() -> bool:
        return (
            session.phase is Phase.READY
            and session.is_applied
            and app.chat.is_drawn
            and app.chat.query_one("#rack").mix == session.mix
        )

    await wait_until(pilot, is_ready, "the model is ready")
    await pilot.pause()


async def say(app: ChatApp, pilot: Pilot[int], text: str) -> Answer:
    """Send a message and return its answer once it has ended and is drawn."""
    await begin(app, pilot, text)
    return await ended(app, pilot)


async def begin(app: ChatApp, pilot: Pilot[int], text: str) -> None:
    """Send a message and wait until its answer has begun to show."""
    held = {entry.id for entry in app.chat.session.conversation.entries}
    app.chat.query_one("#prompt").text = text
    app.chat.query_one("#prompt").focus()
    burst(app, "enter")

    def has_begun() -> bool:
        last = app.chat.session.conversation.entries[-1:]
        is_answer = bool(last) and isinstance(last[0], Answer) and last[0].id not in held
        return is_answer and bool(last[0].text or last[0].error)

    await wait_until(pilot, has_begun, f"an answer to {text!r}")


async def ended(app: ChatApp, pilot: Pilot[int]) -> Answer:
    """Wait until the last answer has ended."""
    session = app.chat.session
    await wait_until(pilot, lambda: not session.is_answering, "the answer ends")
    await ready(app, pilot)
    answer = session.conversation.entries[-1]
    assert isinstance(answer, Answer)
    assert answer.state is not AnswerState.WRITING
    return answer


def burst(app: ChatApp, *keys: str) -> None:
    """Press keys as a slow line delivers them: all before the first is looked at.

    A pilot waits after each until the process is idle, which for a second or two it is not while
    an answer is written.
    """
    for key in keys:
        app.post_message(Key(key, key if len(key) == 1 else None))


def screen_text(app: ChatApp) -> str:
    """Return the text of the terminal, line by line."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def notices(app: ChatApp) -> list[str]:
    """Return the notices on the screen, oldest first."""
    return [notice.message for notice in app._notifications]


def tiny_model(folder: Path, *names: str, scale: float = 0.0, **changes: object) -> Model:
    """Write a tiny base with one adapter per name and return a model of them."""
    base = write_base(folder / "base.gguf", n_ctx_train=32768)
    specs = tuple(
        AdapterSpec(
            name,
            write_adapter(folder / f"{name}.gguf", base, seed=seed, description=f"Is {name}."),
            scale,
        )
        for seed, name in enumerate(names, start=1)
    )
    values: dict[str, object] = {
        "name": "tiny:latest",
        "base": base,
        "adapters": specs,
        "parameters": Parameters(num_thread=1, num_ctx=512, temperature=0.0, num_predict=24),
    }
    return Model(**{**values, **changes})


HISTORY = (
    Message("user", "Who are you?"),
    Message("assistant", "A small model."),
)
